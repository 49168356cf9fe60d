from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import ArtifactError
from classification.storage.unzipping import extract_json, is_zip

if TYPE_CHECKING:
    from pathlib import Path

TEXT = b'{"images": []}' * 1000


def packed(path: Path, **content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(name.replace("_", "."), text)
        archive.writestr("__MACOSX/._d.json", b"x")
    return path


def refusal(archive: Path, target: Path) -> str:
    with pytest.raises(ArtifactError) as refused:
        extract_json(archive, target)
    assert not target.exists()
    return str(refused.value).removeprefix(f"{archive}: ")


def test_the_one_json_file_comes_out(tmp_path: Path) -> None:
    archive = packed(tmp_path / "d.json.zip", d_JSON=TEXT, readme_txt=b"x")
    assert is_zip(archive)
    extract_json(archive, tmp_path / "out.json")
    assert (tmp_path / "out.json").read_bytes() == TEXT


@pytest.mark.parametrize(
    ("content", "number"), [({"a_json": TEXT, "b_json": TEXT}, 2), ({}, 0)]
)
def test_which_one_must_be_plain(
    content: dict[str, bytes], number: int, tmp_path: Path
) -> None:
    archive = packed(tmp_path / "d.zip", **content)
    assert refusal(archive, tmp_path / "out") == (
        f"{number} JSON files in it; one expected"
    )


def test_a_truncated_or_damaged_archive_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "d.zip", d_json=TEXT)
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-30])
    assert refusal(archive, tmp_path / "out") == (
        "not a sound archive: File is not a zip file"
    )
    archive.write_bytes(whole[:45] + b"\xff\xff" + whole[47:])
    assert refusal(archive, tmp_path / "out").startswith("not a sound archive: ")


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "d.json").write_bytes(TEXT)
    for name in ("d.json", "absent", "", "\0"):
        assert not is_zip(tmp_path / name)


def test_an_archive_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "missing.zip"
    with pytest.raises(ArtifactError) as refused:
        extract_json(path, tmp_path / "x.json")
    assert str(refused.value) == f"{path}: cannot read: No such file or directory"
