"""The figures in docs/reliability.md: a table for each sweep, between two marks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def write(name: str, figures: Mapping[str, object], path: Path = PAGE) -> None:
    """Puts figures in the place of those that a sweep found before."""
    text = path.read_text(encoding="utf-8")
    replaced, count = _block(name).subn(
        lambda found: f"{found[1]}\n{_table(figures)}\n{found[2]}", text
    )
    if count != 1:
        raise ValueError(f"{path} has {count} places for the figures of {name}")
    path.write_text(replaced, encoding="utf-8")


def has_figures(name: str, path: Path = PAGE) -> bool:
    """Says whether the page shows what a sweep found."""
    found = _block(name).search(path.read_text(encoding="utf-8"))
    return found is not None and "|" in found[0]


def _block(name: str) -> re.Pattern[str]:
    return re.compile(
        rf"(<!-- figures of {name} -->)\n.*?(<!-- end of {name} -->)", re.DOTALL
    )


def _table(figures: Mapping[str, object]) -> str:
    rows = [f"| {label} | {value} |" for label, value in figures.items()]
    return "\n".join(["| | |", "|---|---|", *rows])
