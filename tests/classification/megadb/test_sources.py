from __future__ import annotations

import gzip
import zipfile
from typing import TYPE_CHECKING

import pytest

from classification.megadb.sources import Member, open_bytes
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

DATA = b'{"images": []}'


def read(path: Path | Member) -> bytes:
    with open_bytes(path, ".json") as file:
        return file.read(100)


def test_plain_gzipped_and_zipped_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(DATA)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(DATA))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/a.json", DATA)
        archive.writestr("__MACOSX/x/a.json", b"")
    for name in ("a.json", "a.json.gz", "a.zip"):
        assert read(tmp_path / name) == DATA


def test_what_cannot_be_unpacked_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(DATA)[:-9])
    (tmp_path / "b.zip").write_bytes(b"PK no zip")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("a.txt", DATA)
    for name in ("a.json.gz", "b.zip", "c.zip", "missing.json"):
        with pytest.raises(ArtifactError):
            read(tmp_path / name)


def test_one_file_of_a_zip_of_many_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/a.json", DATA)
        archive.writestr("x/b.json.gz", gzip.compress(DATA))
    assert read(Member(path, "x/a.json")) == DATA
    assert read(Member(path, "x/b.json.gz")) == DATA
    with pytest.raises(ArtifactError, match="no such file in the zip"):
        read(Member(path, "a.json"))


def test_a_file_that_needs_a_password_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.json", DATA)
    data = bytearray(path.read_bytes())
    # The bit that says so, where the file begins and in the list of files.
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"cannot be unpacked: .*password"):
        read(path)
