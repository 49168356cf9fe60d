"""Page models and Jinja2 templates of the HTML pages.

A page is one file that opens from a disk: pictures are inlined, nothing is fetched, no
script runs. Each page has a model (frozen dataclasses, made without files), a template
that extends ``base.html.j2``, and the one stylesheet ``page.css``.
"""
