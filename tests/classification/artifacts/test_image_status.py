from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import image_status
from classification.artifacts.image_status import ImageStatus, Status
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_round_trip(tmp_path: Path) -> None:
    rows = [
        ImageStatus("a,b.jpg", Status.BAD, 'cannot decode: "x"'),
        ImageStatus("c\nd.jpg", Status.GOOD),
    ]
    image_status.write(tmp_path / "a.csv", rows)
    assert list(image_status.read(tmp_path / "a.csv")) == rows


def test_another_status_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image,status,reason\na.jpg,fine,\n", encoding="utf-8")
    with pytest.raises(ArtifactError) as refused:
        list(image_status.read(path))
    assert str(refused.value) == (
        f"{path}: row 2, column status: one of non_image, nonexistent, good, truncated, "
        "bad, unreachable expected"
    )
