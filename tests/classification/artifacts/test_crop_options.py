from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_type_hints

import pytest

from classification.artifacts import crop_options
from classification.artifacts.crop_options import CropOptions
from classification.cropping.cut import Shape
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_every_shape_of_a_crop_is_known() -> None:
    known = get_args(get_type_hints(CropOptions)["shape"])
    assert set(known) == {shape.value for shape in Shape}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"shape": "round", "jpeg_quality": 75, "ignore_exif": false}', "shape: "),
        ('{"shape": "square", "jpeg_quality": 75}', "Object missing"),
    ],
)
def test_what_is_no_such_file_is_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    path = crop_options.path_of(tmp_path, "crop_detections")
    assert path == tmp_path / ".crop_detections.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=f"^{path}: {message}"):
        crop_options.read(path)
