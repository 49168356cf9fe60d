from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import detector_calibration
from classification.artifacts.detector_calibration import DetectorCalibration
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

CURVE = DetectorCalibration(np.array([0.2, 0.4, 0.8]), np.array([0.0, 0.5, 1.0]))


def test_between_two_points_counts_the_line_that_joins_them() -> None:
    np.testing.assert_allclose(
        CURVE(np.array([0.2, 0.3, 0.4, 0.7])), [0, 0.25, 0.5, 0.875]
    )


def test_d23_what_is_outside_is_clamped_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    weights = CURVE(np.array([0.1, 0.3, 0.9]))
    assert weights.tolist() == pytest.approx([0, 0.25, 1])
    assert "2 of 3 confidences are outside" in caplog.text
    caplog.clear()
    CURVE(np.array([0.2, 0.8]))
    assert not caplog.text


def test_reads_what_numpy_writes(tmp_path: Path) -> None:
    path = tmp_path / "mdv4_1_isotonic_calibration.npz"
    np.savez_compressed(path, x=CURVE.x.astype(np.float32), y=CURVE.y)
    read = detector_calibration.read(path)
    np.testing.assert_allclose(read.x, CURVE.x, rtol=1e-6)
    assert read.x.dtype == np.float64
    assert read.y.tolist() == CURVE.y.tolist()


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"x": [0.1]}, "y: no such array"),
        ({"x": [0.1], "y": [0.1, 0.2]}, "y: as many numbers as in x, 1"),
        ({"x": [], "y": []}, "x: a row of numbers"),
        ({"x": 0.5, "y": 0.5}, "x: a row of numbers"),
        ({"x": [[0.1]], "y": [[0.1]]}, "x: a row of numbers"),
        ({"x": [0.1, 0.3], "y": [0.5, 1.5]}, "y: a row of numbers"),
        ({"x": [0.1, np.nan], "y": [0.5, 0.6]}, "x: a row of numbers"),
        ({"x": [0.3, 0.1], "y": [0.5, 0.6]}, "x: numbers that do not fall"),
        ({"x": [0.1, 0.3], "y": [0.6, 0.5]}, "y: numbers that do not fall"),
        ({"x": ["a"], "y": ["b"]}, "not an archive of arrays"),
    ],
)
def test_what_is_no_curve_is_refused(
    tmp_path: Path, arrays: dict[str, object], fault: str
) -> None:
    path = tmp_path / "c.npz"
    np.savez_compressed(path, **{key: np.array(v) for key, v in arrays.items()})
    with pytest.raises(ArtifactError, match=f"{path}: {fault}"):
        detector_calibration.read(path)
