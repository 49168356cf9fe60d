"""Progress on stderr: a bar at a terminal, nothing in a log file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")


def bar(total: float | None, *, unit: str, initial: int = 0) -> tqdm[NoReturn]:
    """Returns a progress bar to ``update(n)`` by hand; use as a context manager."""
    return tqdm(
        total=total,
        initial=initial,
        unit=f" {unit}",
        file=sys.stderr,
        disable=None,
        smoothing=0.05,
        dynamic_ncols=True,
    )


def track(items: Iterable[T], *, total: int | None, unit: str) -> Iterator[T]:
    """Yields ``items``, counting them on a bar; ``unit`` is the plural noun."""
    with bar(total, unit=unit) as shown:
        for item in items:
            yield item
            shown.update()
