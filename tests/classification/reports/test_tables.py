"""The script that sorts tables, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.reports import render
from classification.reports.detections_page import TEMPLATE, Page
from tests.browser import needs_browser, opened

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_browser

TABLE = """<table class="sortable">
<thead><tr><th>label</th><th>crops</th></tr></thead>
<tbody>
<tr><td>hare</td><td data-value="9">9</td></tr>
<tr><td>Elk</td><td data-value="1200">1,200</td></tr>
<tr><td>fox</td><td></td></tr>
<tr><td>bear</td><td data-value="30">30</td></tr>
</tbody></table>"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    page = Page(title="A page", lead="", pictures=(), box_threshold=0.3)
    html = render.render(TEMPLATE, page, scripts=("tables.js",)).decode()
    path = tmp_path / "index.html"
    path.write_text(html.replace("</main>", f"{TABLE}</main>"))
    return path


@pytest.mark.parametrize(
    ("column", "clicks", "order"),
    [
        (0, 1, ["bear", "Elk", "fox", "hare"]),
        (0, 2, ["hare", "fox", "Elk", "bear"]),
        (1, 1, ["hare", "bear", "Elk", "fox"]),
    ],
)
def test_a_click_on_a_heading_sorts(
    path: Path, column: int, clicks: int, order: list[str]
) -> None:
    with opened(path) as page:
        for _ in range(clicks):
            page.locator("th button").nth(column).click()
        assert page.locator("tbody td:first-child").all_inner_texts() == order
        heading = page.locator("th").nth(column)
        wanted = "ascending" if clicks == 1 else "descending"
        assert heading.get_attribute("aria-sort") == wanted
