"""An archive of arrays comes from anywhere; nothing in it is run or believed."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import _npz
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_arrays_come_back_as_they_were_and_numpy_reads_them(tmp_path: Path) -> None:
    arrays = {
        "file": np.arange(6, dtype=np.int64).reshape(2, 3),
        "nothing": np.zeros((0, 4), np.float32),
        "one": np.asarray(7.5),
    }
    path = tmp_path / "a.npz"
    _npz.write(path, arrays)
    found = _npz.read(path)
    assert list(found) == list(arrays)
    with np.load(path) as theirs:
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
            np.testing.assert_array_equal(theirs[name], array, strict=True)


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    for path in (one, two):
        _npz.write(path, {"x": np.arange(100)})
    assert one.read_bytes() == two.read_bytes()


def test_d45_a_pickle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ArtifactError, match="something else than numbers"):
        _npz.read(path)


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(100_000))
    assert path.stat().st_size < 2000
    with pytest.raises(ArtifactError, match="need more than 9000 bytes"):
        _npz.read(path, max_bytes=9000)


def test_an_array_that_claims_more_than_is_there_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)}
    np.lib.format.write_array_header_1_0(header, claim)
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(64))
    with pytest.raises(ArtifactError, match="cut off"):
        _npz.read(path)


@pytest.mark.parametrize("start", range(0, 400, 7))
def test_damage_anywhere_is_an_error_of_one_line(start: int, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    _npz.write(path, {"x": np.arange(50), "y": np.eye(3)})
    content = bytearray(path.read_bytes())
    content[start : start + 7] = b"\xff" * 7
    path.write_bytes(content)
    try:
        _npz.read(path)
    except ArtifactError as error:
        assert "\n" not in str(error)  # noqa: PT017 - damage may fall on nothing


def test_a_header_that_ends_early_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.lib.format.write_array(whole, np.arange(3))
    header = whole.getvalue().replace(b"(3,)", b"(3,(").replace(b"}", b" ")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header)
    with pytest.raises(ArtifactError, match="not an archive of arrays: "):
        _npz.read(tmp_path / "a.npz")
