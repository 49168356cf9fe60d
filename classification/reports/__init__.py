"""Page models and Jinja2 templates of the HTML pages.

A page is one file that opens from a disk: pictures are inlined, nothing is fetched. Each
page has a model (frozen dataclasses, made without files), a template that extends
``base.html.j2``, the one stylesheet ``page.css``, and scripts where something can be
clicked or typed; what it says can be read without them.
"""
