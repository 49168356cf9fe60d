from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import image_counts
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_labels_are_sorted(tmp_path: Path) -> None:
    path = tmp_path / image_counts.SAMPLED_FILENAME
    image_counts.write(path, {"deer": 2, "bear": 0})
    assert path.read_text() == '{\n "bear": 0,\n "deer": 2\n}\n'
    assert image_counts.read(path) == {"bear": 0, "deer": 2}


@pytest.mark.parametrize("count", ["-1", "1.5", "true", "null", '"2"'])
def test_what_is_no_count_is_refused(count: str, tmp_path: Path) -> None:
    path = tmp_path / image_counts.PRESAMPLE_FILENAME
    path.write_text(f'{{"bear": {count}}}')
    with pytest.raises(ArtifactError) as refusal:
        image_counts.read(path)
    assert str(refusal.value) == f"{path}: bear: a number of images expected"
