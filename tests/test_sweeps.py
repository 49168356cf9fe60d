"""A tenth of each sweep, with fixed seeds; and the page that shows what they found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import sweeps
from tests.sweeps import page

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize("name", sweeps.NAMES)
def test_a_tenth_of_a_sweep_keeps_its_promise(name: str, tmp_path: Path) -> None:
    sweep = sweeps.load(name)
    if reason := sweep.missing():
        pytest.skip(reason)
    assert sweep.run(0.1, tmp_path).broken == []


@pytest.mark.parametrize("name", sweeps.NAMES)
def test_the_page_shows_what_a_sweep_found(name: str) -> None:
    assert page.has_figures(name)


def test_figures_take_the_place_of_those_before(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    before = "a\n<!-- figures of x -->\n<!-- end of x -->\nb\n"
    path.write_text(before)
    assert not page.has_figures("x", path)
    page.write("x", {"right": 3}, path)
    page.write("x", {"right": 4}, path)
    assert page.has_figures("x", path)
    assert path.read_text() == (
        "a\n<!-- figures of x -->\n| | |\n|---|---|\n| right | 4 |\n"
        "<!-- end of x -->\nb\n"
    )
