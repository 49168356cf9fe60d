"""Tables on a terminal: columns aligned, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.runtime.cli import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def align(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yields a line for each row; numbers are set to the right, all else to the left.

    Args:
        rows: cells, equally many in each row; the first is the header.
    """
    texts = [[one_line(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    rights = [
        any(isinstance(cell, int | float) for cell in column)
        for column in zip(*rows, strict=True)
    ]
    for cells in texts:
        line = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, rights, strict=True)
        )
        yield "  ".join(line).rstrip()
