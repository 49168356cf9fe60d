"""Turns a page model into one HTML file.

Every value is escaped, and what cannot be seen (line breaks, controls, marks that turn
the direction of writing) is spelled out, so that a name shows as it is and does nothing.
A content security policy allows the page's own stylesheet and scripts, by their hashes,
and inlined pictures; all else, fonts, frames, forms and the network, is forbidden to it.

A page that has scripts names them; each is a file of this folder. What they are to know
stands in the page as JSON, made by Jinja's ``tojson``, in a ``<script>`` whose type is
``application/json``, which browsers do not run. All that a page says can be read without
its scripts.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from classification.runtime.atomic import replacing
from classification.runtime.cli import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import jinja2

_FOLDER = Path(__file__).parent
_STYLESHEET = "page.css"


def render(template: str, page: object, *, scripts: Sequence[str] = ()) -> bytes:
    """Returns the HTML of ``page``, UTF-8.

    Args:
        template: name of a template of this folder; it sees the model as ``page``.
        page: the page's model.
        scripts: names of JavaScript files of this folder, run in this order when the
            page is there.
    """
    parts = {"page": page, **_parts(scripts)}
    return _environment().get_template(template).render(parts).encode()


def write(
    path: Path, template: str, page: object, *, scripts: Sequence[str] = ()
) -> None:
    """Writes ``page`` as HTML; the file appears whole or not at all."""
    html = render(template, page, scripts=scripts)
    with replacing(path) as file:
        file.write(html)


def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - a page is made by few commands

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["percent"] = percent
    environment.filters["link"] = link
    return environment


def percent(fraction: float) -> str:
    """Writes a fraction as whole percents; what is not all or nothing stays so."""
    if 0 < fraction < 0.01:  # noqa: PLR2004 - one percent
        return "<1%"
    if 0.99 < fraction < 1:  # noqa: PLR2004 - 99 percent
        return ">99%"
    return f"{round(100 * fraction)}%"


def link(path: str) -> str:
    """Spells a relative path as an address; never one of another scheme."""
    return quote(path) if path.startswith(("/", ".")) else "./" + quote(path)


def _visible(value: Any) -> Any:  # noqa: ANN401 - whatever a template prints
    # Text that Jinja marked as safe, such as the stylesheet, is a subclass of str.
    return one_line(value) if type(value) is str else value


def _parts(scripts: Sequence[str]) -> dict[str, Any]:
    """Returns what ``base.html.j2`` puts into every page."""
    from markupsafe import Markup  # noqa: PLC0415 - comes with Jinja2

    css = (_FOLDER / _STYLESHEET).read_text(encoding="utf-8")
    codes = [(_FOLDER / name).read_text(encoding="utf-8") for name in scripts]
    policy = [
        "default-src 'none'",
        "img-src data:",
        f"style-src {_source(css)}",
        *([f"script-src {' '.join(map(_source, codes))}"] if codes else ()),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return {
        "css": Markup(css),  # noqa: S704 - our own file, not input
        "scripts": [Markup(code) for code in codes],  # noqa: S704 - likewise
        "policy": "; ".join(policy),
    }


def _source(text: str) -> str:
    """Returns what a policy calls an inlined text: by its hash."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
