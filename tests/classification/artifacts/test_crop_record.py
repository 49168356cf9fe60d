from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import numpy as np
import pytest
from PIL import Image

from classification.artifacts import crop_record
from classification.artifacts.crop_record import CropRecord, Geometry
from classification.cropping.cut import Shape
from classification.runtime.errors import ItemError
from detection.boxes import Box

RECORD = CropRecord(
    image="a/b.jpg",
    image_digest="digest of b",
    box=Box(0.1, 1 / 3, 0.30000000000000004, 0.4),
    geometry=Geometry(shape="square", jpeg_quality=75, ignore_exif=False),
    detector="md_v5a.0.0.pt",
    detector_digest=None,
    annotated=False,
)


def changed(**values: object) -> CropRecord:
    return msgspec.structs.replace(RECORD, **values)


def jpeg(*, comment: bytes = b"", exif: bytes = b"") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)
    buffer = io.BytesIO()
    extra: dict[str, bytes] = {"comment": comment} if comment else {}
    if exif:
        extra["exif"] = exif
    Image.fromarray(pixels).save(buffer, "JPEG", **extra)
    return buffer.getvalue()


def read(data: bytes, folder: Path) -> CropRecord | None:
    path = folder / "crop.jpg"
    path.write_bytes(data)
    return crop_record.read(path)


def pixels_of(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).tobytes()


def segment(text: bytes) -> bytes:
    return b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text


def test_every_shape_of_a_crop_is_known() -> None:
    known = get_args(get_type_hints(Geometry)["shape"])
    assert set(known) == {shape.value for shape in Shape}


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        changed(annotated=True, detector=None, image_digest=None),
        changed(
            image="b\udcff \N{SNOWMAN}\n.jpg", detector='d"\\', detector_digest="x"
        ),
    ],
)
def test_a_record_is_read_as_it_was_written(record: CropRecord, tmp_path: Path) -> None:
    assert read(crop_record.insert(jpeg(), record), tmp_path) == record


def test_only_the_comment_is_added() -> None:
    plain = jpeg()
    marked = crop_record.insert(plain, RECORD)
    text = crop_record.encode(RECORD)
    assert marked.replace(segment(text), b"") == plain
    assert marked.startswith(plain[:20])  # JFIF's segment stays the first
    assert pixels_of(marked) == pixels_of(plain)
    assert json.loads(text) == {
        "crop_record": 1,
        "image": "a/b.jpg",
        "image_digest": "digest of b",
        "box": [0.1, 1 / 3, 0.30000000000000004, 0.4],
        "geometry": {"shape": "square", "jpeg_quality": 75, "ignore_exif": False},
        "detector": "md_v5a.0.0.pt",
        "detector_digest": None,
        "annotated": False,
    }


def test_a_record_is_found_behind_other_segments(tmp_path: Path) -> None:
    exif = b"Exif\0\0" + bytes(60_000)
    marked = crop_record.insert(jpeg(comment=b"of a camera", exif=exif), RECORD)
    assert read(marked, tmp_path) == RECORD
    behind = marked[:2] + segment(b"of another program") + marked[2:]
    assert read(behind, tmp_path) == RECORD


def test_a_record_that_fits_no_comment_is_refused() -> None:
    crop_record.insert(jpeg(), changed(image="a" * 65_000))
    with pytest.raises(ItemError, match="too long"):
        crop_record.insert(jpeg(), changed(image="a" * 65_500))


def spoilt(**values: object) -> bytes:
    return json.dumps({**json.loads(crop_record.encode(RECORD)), **values}).encode()


@pytest.mark.parametrize(
    "comment",
    [
        b"made with love",
        b'{"crop_record": 1}',
        b'{"crop_record": ',
        b'{"crop_record": ' + b"[" * 60_000,
        b'{"crop_record": "\\ud800"}',
        b'{"crop_record": 1, "\\ud800": 1}',
        b'{"crop_record": \xff}',
        b"null",
        crop_record.encode(RECORD)[:-1],
        b" " + crop_record.encode(RECORD),
        spoilt(crop_record=2),
        spoilt(box=[0, 0, 1]),
        spoilt(box=[0, 0, 1, 2]),
        spoilt(box=[0, 0, 1, float("nan")]),
        spoilt(image=""),
        spoilt(image=None),
        spoilt(image_digest=7),
        spoilt(annotated="no"),
        spoilt(geometry={"shape": "round", "jpeg_quality": 75, "ignore_exif": False}),
    ],
)
def test_a_damaged_or_foreign_comment_is_no_record(
    comment: bytes, tmp_path: Path
) -> None:
    data = jpeg()
    assert read(data[:2] + segment(comment) + data[2:], tmp_path) is None


def test_further_keys_do_not_count(tmp_path: Path) -> None:
    data = jpeg()
    text = spoilt(further="key")
    assert read(data[:2] + segment(text) + data[2:], tmp_path) == RECORD


def test_every_file_that_ends_early_is_read_without_an_error(tmp_path: Path) -> None:
    marked = crop_record.insert(jpeg(), RECORD)
    end = marked.index(b"\xff\xdb")  # the first segment behind the comment
    for length in range(end):
        assert read(marked[:length], tmp_path) is None
    assert read(marked[:end], tmp_path) == RECORD


def test_no_pipe_folder_or_missing_file_is_waited_for(tmp_path: Path) -> None:
    assert crop_record.read(tmp_path) is None
    assert crop_record.read(tmp_path / "missing.jpg") is None
    assert crop_record.read(Path("a\0b")) is None
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        assert crop_record.read(tmp_path / "pipe.jpg") is None


def test_a_record_behind_the_pixels_does_not_count(tmp_path: Path) -> None:
    data = jpeg()
    text = segment(crop_record.encode(RECORD))
    assert read(data[:-2] + text + data[-2:], tmp_path) is None
    many = segment(b"x") * 10_000 + text
    assert read(data[:2] + many + data[2:], tmp_path) is None


@dataclass(frozen=True)
class Case:
    found: CropRecord
    reason: str


@pytest.mark.parametrize(
    "case",
    [
        Case(RECORD, ""),
        Case(changed(image_digest=None), ""),
        Case(changed(detector_digest="x"), ""),  # the wanted one's is not known
        Case(changed(detector="another"), ""),
        Case(changed(image="c.jpg"), crop_record.ANOTHER_IMAGE),
        Case(changed(image_digest="other"), crop_record.ANOTHER_IMAGE),
        Case(changed(box=Box(0.1, 0.3, 0.3, 0.4)), crop_record.ANOTHER_BOX),
        Case(changed(annotated=True), crop_record.ANOTHER_BOX),
        Case(
            changed(
                geometry=Geometry(shape="square", jpeg_quality=76, ignore_exif=False)
            ),
            crop_record.ANOTHER_GEOMETRY,
        ),
    ],
)
def test_what_differs_is_named(case: Case) -> None:
    assert crop_record.difference(case.found, RECORD) == case.reason


def test_a_retrained_detector_is_another() -> None:
    one, other = changed(detector_digest="x"), changed(detector_digest="y")
    assert crop_record.difference(one, other) == crop_record.ANOTHER_DETECTOR
