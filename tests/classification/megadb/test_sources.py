from __future__ import annotations

import gzip
import zipfile
from typing import TYPE_CHECKING

import pytest

from classification.megadb.sources import open_bytes
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

DATA = b'{"images": []}'


def read(path: Path) -> bytes:
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
