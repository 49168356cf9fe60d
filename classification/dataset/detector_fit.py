"""How often a detector is right when it is so sure: isotonic regression.

A box is right where one that a person drew, of the same kind, shares enough of its area;
each drawn box is found once, by the surest. Whether boxes are right, against how sure the
detector was, is fitted by a curve that never falls (Zadrozny and Elkan: Transforming
classifier scores into accurate multiclass probability estimates, KDD 2002), all kinds
of boxes together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts.detector_calibration import DetectorCalibration
from detection.boxes import intersection_over_union
from detection.records import ANIMAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from classification.artifacts.queried_images import QueriedBox

GROUP = "group"  # of animals, under one box


def judge(
    found: Sequence[QueriedBox], drawn: Sequence[QueriedBox], *, iou: float
) -> list[bool]:
    """Says of each box that a detector found whether it is right.

    Args:
        found: the surest first.
        drawn: all boxes of the image; a group counts as an animal.
        iou: least intersection over union of a box that is right, in (0, 1].
    """
    left = list(drawn)
    verdicts = []
    for box in found:
        best = max(
            (one for one in left if _kind(one) == _kind(box)),
            key=lambda one: intersection_over_union(box.bbox, one.bbox),
            default=None,
        )
        if best is None or intersection_over_union(box.bbox, best.bbox) < iou:
            verdicts.append(False)
        else:
            left.remove(best)
            verdicts.append(True)
    return verdicts


def _kind(box: QueriedBox) -> str:
    return ANIMAL if box.category == GROUP else box.category


def fit(confidences: Sequence[float], right: Sequence[bool]) -> DetectorCalibration:
    """Returns the curve that never falls and is nearest to the verdicts, in squares.

    Args:
        confidences: of boxes, in [0, 1]; at least one.
        right: whether each is right.
    """
    from sklearn.isotonic import IsotonicRegression  # noqa: PLC0415 - takes a moment

    regression = IsotonicRegression(
        y_min=0, y_max=1, increasing=True, out_of_bounds="raise"
    )
    regression.fit(np.array(confidences), np.array(right, np.float64))
    # The arithmetic of means may leave a hair above the next, or above 1.
    y = np.clip(np.maximum.accumulate(regression.y_thresholds_), 0, 1)
    return DetectorCalibration(np.asarray(regression.X_thresholds_, np.float64), y)
