"""Page models and Jinja2 templates of the HTML pages."""
