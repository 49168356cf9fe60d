"""Non-maximum suppression: of boxes that overlap, the surest stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BOXES = 300  # an image keeps no more than this
MAX_CANDIDATES = 30_000  # nor are more than this compared


def suppress(
    corners: NDArray[np.float32],
    scores: NDArray[np.float32],
    categories: NDArray[np.intp],
    *,
    overlap: float,
) -> NDArray[np.intp]:
    """Picks boxes, surest first; drops those that overlap one of their category.

    Greedy: a box that was dropped itself drops none. Equal scores keep their order.

    Args:
        corners: left, top, right, bottom of each box, shape [boxes, 4].
        scores: shape [boxes].
        categories: index of each box's category, shape [boxes].
        overlap: intersection over union above which the less sure box is dropped.

    Returns:
        Positions of the boxes that stay, by falling score; at most ``MAX_BOXES``.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    apart = _set_apart(corners, categories)
    areas = _areas(apart)
    kept: list[np.intp] = []
    while order.size and len(kept) < MAX_BOXES:
        best, others = order[0], order[1:]
        kept.append(best)
        shared = _shared_areas(apart[best], apart[others])
        joint = areas[best] + areas[others] - shared
        order = others[shared <= overlap * joint]
    return np.array(kept, dtype=np.intp)


def _set_apart(
    corners: NDArray[np.float32], categories: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Moves each category to a place of its own, so that none overlaps another."""
    wide = corners.astype(np.float64)
    if not wide.size:
        return wide
    extent = wide.max() - wide.min() + 1.0
    moved: NDArray[np.float64] = wide + (categories * extent)[:, None]
    return moved


def _areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    areas: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas


def _shared_areas(
    one: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    inner = np.concatenate(
        (np.maximum(one[:2], others[:, :2]), np.minimum(one[2:], others[:, 2:])), axis=1
    )
    return _areas(inner)
