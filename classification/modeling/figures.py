"""Pictures of how a classifier does: who is taken for whom, and rows of crops.

They are drawn without a window and without matplotlib's global state, so threads may
draw, and the same input gives the same pixels.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text
    from numpy.typing import NDArray

_DOTS_PER_INCH = 100
# A cell holds two lines of text up to this many labels, one line up to the second.
_COUNTS_UP_TO, _PERCENT_UP_TO = 80, 250
_LONGEST_LABEL = 40
_LABEL_POINTS = 8
_WHITE_ABOVE = 0.6  # of the colour scale, where black is hard to read
_GAP_IN = 0.1
_LEAST_SIDE_IN = 1.35  # as long as the name of an axis


def confusion(
    counts: NDArray[np.int64], labels: Sequence[str], title: str = ""
) -> NDArray[np.uint8]:
    """Draws a confusion matrix: true labels down, predicted labels across.

    A cell is as dark as its share of its row; it shows its count and that share in
    percent, or the percent alone where there are more than 80 labels. Empty cells stay
    empty; a row without examples is grey.

    Args:
        counts: [C, C] of examples, ``counts[true, predicted]``.
        labels: C of them, in that order.
        title: stands above.

    Returns:
        [height, width, 3].
    """
    return _pixels(confusion_figure(counts, labels, title))


def confusion_figure(
    counts: NDArray[np.int64], labels: Sequence[str], title: str
) -> Figure:
    """Returns the figure that ``confusion`` makes pixels of."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - a second, and few need it

    names = [_shortened(label) for label in labels]
    totals = counts.sum(axis=1)
    with_totals = [f"{n} ({t})" for n, t in zip(names, totals, strict=True)]
    side = max(_cell_in(len(labels)) * len(labels), _LEAST_SIDE_IN)
    # Names of axes and ticks stand left and below, and the title above.
    left, below, above = _width_in(with_totals) + 0.4, _width_in(names) + 0.4, 0.4
    width = max(left + side, _width_in([title]) + _GAP_IN) + 2 * _GAP_IN
    height = below + side + above
    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH)
    axes = figure.add_axes((left / width, below / height, side / width, side / height))
    _colour(axes, counts)
    _name(axes, with_totals, names)
    _plain(
        figure.text(
            _GAP_IN / width, 1 - 0.25 / height, title, fontsize=_LABEL_POINTS + 1
        )
    )
    if len(labels) <= _PERCENT_UP_TO:
        _fill_cells(axes, counts, with_counts=len(labels) <= _COUNTS_UP_TO)
    return figure


def row(
    images: Sequence[NDArray[np.uint8]], captions: Sequence[str]
) -> NDArray[np.uint8]:
    """Draws images side by side, each below its caption.

    Args:
        images: at least one, each [height, width, 3].
        captions: one for each image, of a few lines.

    Returns:
        [height, width, 3]; 250 pixels wide for each image.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    figure = Figure(figsize=(2.5 * len(images), 3), dpi=_DOTS_PER_INCH)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left = (index + 0.02) / len(images)
        axes = figure.add_axes((left, 0.02, 0.96 / len(images), 0.74))
        axes.imshow(image)
        axes.set_axis_off()
        lines = "\n".join(_shortened(line) for line in caption.splitlines())
        _plain(axes.set_title(lines, fontsize=_LABEL_POINTS, loc="left"))
    return _pixels(figure)


def _cell_in(labels: int) -> float:
    """Returns a cell's side in inches; a whole matrix stays below 50."""
    if labels <= _COUNTS_UP_TO:
        return 0.45
    return min(0.24, 50 / labels)


def _width_in(texts: Sequence[str]) -> float:
    """Returns how wide the widest of the texts is at the size of labels, in inches."""
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415 - as above
    from matplotlib.textpath import text_to_path  # noqa: PLC0415 - as above

    font = FontProperties(size=_LABEL_POINTS)
    with _any_letter():
        widths = [
            text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]
            for text in texts
        ]
    return float(max(widths, default=0)) / 72 + _GAP_IN


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns each cell's share of its row, NaN in a row without examples."""
    totals = counts.sum(axis=1, keepdims=True).astype(np.float64)
    shares = np.full(counts.shape, np.nan)
    np.divide(counts, totals, out=shares, where=totals > 0)
    return shares


def _colour(axes: Axes, counts: NDArray[np.int64]) -> None:
    from matplotlib import colormaps  # noqa: PLC0415 - as above

    blues = colormaps["Blues"].with_extremes(bad="lightgrey")
    axes.imshow(
        np.ma.masked_invalid(_shares(counts)),
        cmap=blues,
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    lines = np.arange(-0.5, len(counts))
    axes.set_xticks(lines, minor=True)
    axes.set_yticks(lines, minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.5)
    axes.tick_params(which="minor", length=0)


def _name(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    places = np.arange(len(rows))
    axes.set_xticks(places, list(columns), rotation=90, fontsize=_LABEL_POINTS)
    axes.set_yticks(places, list(rows), fontsize=_LABEL_POINTS)
    axes.set_xlabel("predicted label", fontsize=_LABEL_POINTS)
    axes.set_ylabel("true label (examples)", fontsize=_LABEL_POINTS)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        _plain(text)


def _fill_cells(axes: Axes, counts: NDArray[np.int64], *, with_counts: bool) -> None:
    shares = _shares(counts)
    for true, predicted in np.argwhere(counts > 0):
        share = shares[true, predicted]
        percent = _percent(share)
        count = compact(int(counts[true, predicted]))
        axes.text(
            predicted,
            true,
            f"{count}\n{percent}%" if with_counts else percent,
            ha="center",
            va="center",
            fontsize=7 if with_counts else 6,
            linespacing=1.1,
            color="white" if share > _WHITE_ABOVE else "black",
        )


def _percent(share: float) -> str:
    """Returns percent of at most three characters; what is there is never 0."""
    return "<1" if 0 < share < 0.005 else f"{share:.0%}".rstrip("%")  # noqa: PLR2004 - half a percent


def compact(count: int) -> str:
    """Returns a count of at most five characters: ``9999``, ``12.3k``, ``1.2M``."""
    if count < 10_000:  # noqa: PLR2004 - four digits
        return str(count)
    thousands = count / 1000
    if thousands < 999.5:  # noqa: PLR2004 - from here it reads 1000k
        return f"{thousands:.1f}k" if thousands < 99.95 else f"{thousands:.0f}k"  # noqa: PLR2004 - three digits
    return f"{count / 1e6:.1f}M"


def _plain(text: Text) -> None:
    """A ``$`` in a label is a dollar, not the start of a formula."""
    text.set_parse_math(False)


@contextmanager
def _any_letter() -> Iterator[None]:
    """A letter that the font lacks is drawn as a box; tags hold the label, too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _pixels(figure: Figure) -> NDArray[np.uint8]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - as above

    canvas = FigureCanvasAgg(figure)
    with _any_letter():
        canvas.draw()  # type: ignore[no-untyped-call]
    pixels: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return pixels[..., :3].copy()
