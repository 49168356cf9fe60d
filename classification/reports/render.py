"""Turns a page model into one HTML file.

Every value is escaped, and what cannot be seen (line breaks, controls, marks that turn
the direction of writing) is spelled out, so that a name shows as it is and does nothing.
A content security policy allows the page's own stylesheet, by its hash, and inlined
pictures; scripts, fonts, frames, forms and the network are forbidden to it.
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
    import jinja2

_FOLDER = Path(__file__).parent
_STYLESHEET = "page.css"


def render(template: str, page: object) -> bytes:
    """Returns the HTML of ``page``, UTF-8.

    Args:
        template: name of a template of this folder; it sees the model as ``page``.
        page: the page's model.
    """
    text = _environment().get_template(template).render(page=page, **_style())
    return text.encode()


def write(path: Path, template: str, page: object) -> None:
    """Writes ``page`` as HTML; the file appears whole or not at all."""
    html = render(template, page)
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


def _style() -> dict[str, Any]:
    from markupsafe import Markup  # noqa: PLC0415 - comes with Jinja2

    css = (_FOLDER / _STYLESHEET).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode("ascii")
    policy = (
        "default-src 'none'; img-src data:; "
        f"style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return {"css": Markup(css), "policy": policy}  # noqa: S704 - our own file, not input
