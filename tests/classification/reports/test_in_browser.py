"""The detections page in a real browser: drawn, readable, and deaf to hostile names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from classification.reports import render
from classification.reports.detections_page import (
    TEMPLATE,
    Failure,
    LinkedFile,
    Page,
    Subject,
    Truth,
    Vocabulary,
    view_picture,
)
from classification.reports.pictures import inline
from detection.boxes import Box
from detection.records import Detection, ImageDetections
from tests.browser import needs_browser, opened
from tests.world import jpeg_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HOSTILE = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
GREEN = (0x35, 0xD0, 0x8C)
PLUM = (200, 40, 160)

pytestmark = needs_browser


@pytest.fixture
def page(tmp_path: Path) -> Path:
    plain = inline(jpeg_bytes(Image.new("RGB", (800, 600), PLUM)), side_px=800)
    words = Vocabulary(
        name_by_category={"0": HOSTILE}, threshold=0.5, box_threshold=0.3
    )
    box = Detection("1", Box(0.25, 0.25, 0.5, 0.5), 0.9, (("0", 0.8),))
    truth = Truth(animal=HOSTILE, in_imagenet=False, remark=HOSTILE)
    subject = Subject(
        image=ImageDetections(HOSTILE, (box,)), picture=plain, truth=truth
    )
    model = Page(
        title="Hostile",
        lead=HOSTILE,
        pictures=(view_picture(1, subject, words),),
        box_threshold=0.3,
        failures=(Failure(HOSTILE, HOSTILE),),
        files=(LinkedFile(HOSTILE, HOSTILE),),
    )
    path = tmp_path / "index.html"
    render.write(path, TEMPLATE, model)
    return path


def attributes(dom: str, pattern: str) -> Mapping[str, str]:
    found = re.search(pattern, dom)
    assert found, pattern
    return dict(re.findall(r'([\w-]+)="([^"]*)"', found[0]))


def test_hostile_names_do_nothing(page: Path) -> None:
    with opened(page) as tab:
        dom = tab.content()
    assert "<title>Hostile</title>" in dom
    assert "<script" not in dom
    assert dom.count("&lt;script&gt;document.title") >= 6


def test_the_box_stands_where_it_should(page: Path) -> None:
    with opened(page) as tab:
        dom = tab.content()
    frame = attributes(dom, r'<rect class="frame"[^>]*>')
    assert [frame[key] for key in ("x", "y", "width", "height")] == [
        "200.0",
        "150.0",
        "400.0",
        "300.0",
    ]
    assert (
        "&lt;script&gt;" in re.findall(r'class="tagtext".*?</text>', dom, re.DOTALL)[0]
    )


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_box_is_drawn_in_light_and_in_dark(
    page: Path, *, scheme: str, is_dark: bool
) -> None:
    picture = page.parent / "shot.png"
    with opened(page, scheme=scheme) as tab:
        tab.screenshot(path=picture)
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert (pixels[5, 5].mean() < 64) == is_dark
    green = abs(pixels - np.array(GREEN)).max(axis=2) < 12
    rows, columns = np.nonzero(green)
    plum = abs(pixels - np.array(PLUM)).max(axis=2) < 12
    plum_rows, plum_columns = np.nonzero(plum)
    width = np.ptp(plum_columns)
    assert len(rows) > 1000
    frame_columns = columns[rows > np.median(plum_rows)]
    share = (frame_columns - plum_columns.min()) / width
    assert share.min() == pytest.approx(0.25, abs=0.02)
