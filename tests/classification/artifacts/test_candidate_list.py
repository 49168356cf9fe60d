from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import candidate_list
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_names_are_sorted_and_stand_once(tmp_path: Path) -> None:
    path = candidate_list.path_of(tmp_path, "test", "ds")
    assert path.name == "mislabeled_candidates_test_ds.txt"
    candidate_list.write(path, ["c d.jpg", "a/é.JPG", "c d.jpg", "bad\udcff.jpg"])
    assert path.read_bytes() == b"a/\xc3\xa9.JPG\nbad\xff.jpg\nc d.jpg\n"
    assert candidate_list.read(path) == ["a/é.JPG", "bad\udcff.jpg", "c d.jpg"]


def test_a_list_of_none_is_an_empty_file(tmp_path: Path) -> None:
    path = candidate_list.path_of(tmp_path, "test", "ds")
    candidate_list.write(path, [])
    assert path.read_bytes() == b""
    with pytest.raises(ArtifactError, match="the list is empty"):
        candidate_list.read(path)


def test_a_line_break_cannot_stand_in_a_line() -> None:
    assert candidate_list.is_line("a b.jpg")
    assert not candidate_list.is_line("a\nb.jpg")
    assert not candidate_list.is_line("a\rb.jpg")
