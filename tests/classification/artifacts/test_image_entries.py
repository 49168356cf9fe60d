from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import image_entries
from classification.artifacts.image_entries import ImageEntry
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, document: Any, **options: str) -> list[ImageEntry]:  # noqa: ANN401 - JSON
    path = folder / "list.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return list(image_entries.read(path, **options))


def test_an_entry_says_where_it_is_from_and_what_it_becomes(tmp_path: Path) -> None:
    document = [
        {"file": "x/a.JPG", "dataset": "wcs", "download_id": "one", "new_entry": True},
        {"file": "wcs/x/b.jpg", "download_id": "two.jpg", "location": {"any": 1}},
    ]
    assert read(tmp_path, document) == [
        ImageEntry("x/a.JPG", "wcs", "one.JPG", is_new=True),
        ImageEntry("wcs/x/b.jpg", "", "two.jpg", is_new=False),
    ]


def test_a_detections_json_is_a_list_of_images(tmp_path: Path) -> None:
    document = {"info": {}, "images": [{"file": "d/a.jpg", "detections": None}]}
    entries = read(tmp_path, document, key="images", save_key="file")
    assert entries == [ImageEntry("d/a.jpg", "", "d/a.jpg", is_new=False)]


@pytest.mark.parametrize(
    ("document", "options", "message"),
    [
        ({}, {}, "Expected `array`, got `object`"),
        ([{"download_id": "a"}], {}, "[0]: Object missing required field `file`"),
        ([{"file": "a"}], {}, "[0]: Object missing required field `download_id`"),
        ([{"file": 3, "download_id": "a"}], {}, "[0].file: Expected `str`, got `int`"),
        ({"images": 3}, {"key": "images"}, "images: Expected `array`, got `int`"),
        ({}, {"key": "images"}, "Object missing required field `images`"),
        (
            {"images": [{"file": "../a"}]},
            {"key": "images", "save_key": "file"},
            "images[0].file: '../a' leaves its folder",
        ),
        (
            [{"file": "a.jpg", "download_id": "/etc/x"}],
            {},
            "[0].download_id: '/etc/x.jpg' is absolute",
        ),
        ([], {"save_key": "dataset"}, "dataset is no name to save an image under"),
    ],
)
def test_what_breaks_the_format_has_an_address(
    tmp_path: Path,
    document: Any,  # noqa: ANN401 - JSON
    options: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(ArtifactError) as refused:
        read(tmp_path, document, **options)
    assert str(refused.value).startswith(f"{tmp_path / 'list.json'}: {message}")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(b'[{"file": "\xed\xa0\x80"}]')
    with pytest.raises(ArtifactError, match="not JSON: "):
        list(image_entries.read(path))
