from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import location_counts
from classification.artifacts.location_counts import LocationCount
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = [
    LocationCount("bear", "caltech", "", 2),
    LocationCount("big, bad", "Caltech Camera Traps", "Straße 1\nhinten", 38),
]


def test_counts_come_back(tmp_path: Path) -> None:
    path = tmp_path / location_counts.FILENAME
    location_counts.write(path, iter(COUNTS))
    assert (
        path.read_bytes()
        == (
            "label,dataset,location,images\nbear,caltech,,2\n"
            '"big, bad",Caltech Camera Traps,"Straße 1\nhinten",38\n'
        ).encode()
    )
    assert list(location_counts.read(path)) == COUNTS


@pytest.mark.parametrize("images", ["", "-1", "1.5", "x", "²"])
def test_what_is_no_count_is_refused(images: str, tmp_path: Path) -> None:
    path = tmp_path / location_counts.FILENAME
    path.write_text(f"label,dataset,location,images\nbear,a,,{images}\n")
    with pytest.raises(ArtifactError) as refusal:
        list(location_counts.read(path))
    assert str(refusal.value) == (
        f"{path}: row 2, column images: a whole number expected"
    )
