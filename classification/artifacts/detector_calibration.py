"""``isotonic_calibration.npz``: how often a detector is right when it is so sure.

Written by ``fit_detector_calibration``; read by ``train_classifier``, which weighs its
examples by it (``--weight-by-detection-conf``). Two arrays in NumPy's compressed archive::

    x   [0.1, 0.25, 0.6, 0.98]     confidences of the detector, increasing
    y   [0.02, 0.31, 0.31, 0.97]   share of boxes that are right, never falling

Between two points the line that joins them counts. Below the first x the first y counts,
above the last the last: the original ends there with an error. Both are float64, one or
more numbers in [0, 1], equally many; the original's own files are read as they are.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.artifacts import _npz
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FILENAME = "isotonic_calibration.npz"

_KEYS = ("x", "y")
_MOST_BYTES = 64 << 20  # of the arrays: far more points than any curve needs

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DetectorCalibration:
    """A curve through points.

    Attributes:
        x: confidences, increasing, float64 [points].
        y: share of boxes of such a confidence that are right, float64 [points].
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]

    def __call__(self, confidences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the share that is right for each confidence; says what is clamped."""
        outside = self.count_outside(confidences)
        if outside:
            _logger.warning(
                "%d of %d confidences are outside of the calibration's %g to %g; they "
                "count as its nearest end",
                outside,
                len(confidences),
                self.x[0],
                self.x[-1],
            )
        return np.interp(confidences, self.x, self.y)

    def count_outside(self, confidences: NDArray[np.float64]) -> int:
        """Returns how many confidences the curve does not reach."""
        is_outside = (confidences < self.x[0]) | (confidences > self.x[-1])
        return int(np.count_nonzero(is_outside))


def read(path: Path) -> DetectorCalibration:
    """Reads and checks a calibration.

    Raises:
        ArtifactError: it is missing, no such archive, or its arrays are no such curve.
    """
    with in_file(path):
        arrays = _npz.read(path, max_bytes=_MOST_BYTES)
        x, y = (_check(arrays.get(key), key) for key in _KEYS)
        if len(x) != len(y):
            raise ArtifactError(
                f"as many numbers as in x, {len(x)}, expected", where="y"
            )
        return DetectorCalibration(x, y)


def write(path: Path, calibration: DetectorCalibration) -> None:
    """Writes a calibration."""
    _npz.write(path, {"x": calibration.x, "y": calibration.y})


def _check(values: NDArray[Any] | None, key: str) -> NDArray[np.float64]:
    if values is None:
        raise ArtifactError("no such array; a calibration has x and y", where=key)
    is_row = values.ndim == 1 and len(values) and values.dtype.kind in "fiu"
    if not is_row or not ((values >= 0) & (values <= 1)).all():
        raise ArtifactError("a row of numbers in [0, 1] expected", where=key)
    if (np.diff(values) < 0).any():
        raise ArtifactError("numbers that do not fall expected", where=key)
    return values.astype(np.float64)
