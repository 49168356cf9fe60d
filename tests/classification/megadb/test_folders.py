from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.megadb import folders
from classification.megadb.staging import Staging
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def staged(source: Path, layout: str, spill: Path) -> tuple[list[object], list[object]]:
    with Staging.open(spill) as staging:
        folders.read(source, staging, folders.parse_layout(layout))
        images = staging.connection.execute(
            "SELECT row, id, file, location, sequence FROM staged_images ORDER BY row"
        ).fetchall()
        labels = staging.connection.execute(
            "SELECT image_id, label, level FROM staged_labels ORDER BY row"
        ).fetchall()
    return images, labels


def test_the_folders_say_location_and_label(tmp_path: Path) -> None:
    source = touch(
        tmp_path / "images", "ridge/elk/a.jpg", "ridge/elk/x/b.JPG", "creek/deer/a.jpg"
    )
    images, labels = staged(source, "location/label", tmp_path / "db")
    assert images == [
        (0, "creek/deer/a.jpg", "creek/deer/a.jpg", "creek", None),
        (1, "ridge/elk/a.jpg", "ridge/elk/a.jpg", "ridge", None),
        (2, "ridge/elk/x/b.JPG", "ridge/elk/x/b.JPG", "ridge", None),
    ]
    assert labels == [
        ("creek/deer/a.jpg", "deer", "image"),
        ("ridge/elk/a.jpg", "elk", "image"),
        ("ridge/elk/x/b.JPG", "elk", "image"),
    ]


def test_a_star_skips_a_folder_and_a_sequence_is_taken(tmp_path: Path) -> None:
    source = touch(tmp_path / "images", "2024/elk/burst 7/a.jpg")
    images, labels = staged(source, "*/label/sequence", tmp_path / "db")
    name = "2024/elk/burst 7/a.jpg"
    assert images == [(0, name, name, None, "burst 7")]
    assert labels == [(name, "elk", "image")]


def test_an_image_above_the_folder_of_its_label_has_none(tmp_path: Path) -> None:
    source = touch(tmp_path / "images", "a.jpg", "elk/b.jpg")
    images, labels = staged(source, "label", tmp_path / "db")
    assert len(images) == 2
    assert labels == [("elk/b.jpg", "elk", "image")]


def test_what_is_no_image_or_hidden_is_passed_over(tmp_path: Path) -> None:
    source = touch(
        tmp_path / "images", "elk/a.jpg", "elk/.b.jpg", ".t/elk/c.jpg", "elk/x.txt"
    )
    (source / "elk/loop").symlink_to(source)
    images, _ = staged(source, "label", tmp_path / "db")
    assert len(images) == 1


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("location", "'location' names no folder as the label"),
        ("site/label", "'site/label' is not a layout of folders; words are location, "),
        ("label/label", "'label/label' is not a layout of folders; words are location"),
        ("", "'' is not a layout of folders"),
    ],
)
def test_a_layout_that_is_none_is_refused(layout: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        folders.parse_layout(layout)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such folder"):
        staged(tmp_path / "absent", "label", tmp_path / "db")
    (tmp_path / "images").mkdir()
    with pytest.raises(ConfigurationError, match=r"no images in .* or its folders"):
        staged(tmp_path / "images", "label", tmp_path / "db")
