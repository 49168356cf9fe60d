from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from classification.runtime import scratch
from classification.runtime.errors import StorageError
from tests.disk import largest_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_what_was_written_down_can_be_read() -> None:
    with scratch.write_down([b"one\n", b"two\n"]) as file:
        assert file.readlines() == [b"one\n", b"two\n"]


@pytest.mark.parametrize("size", [100, 1 << 20])  # one that fits the buffer, one not
def test_a_full_temporary_folder_is_one_line(size: int) -> None:
    with largest_file(10), pytest.raises(StorageError) as refused:
        scratch.write_down([bytes(size)] * 2)
    assert str(refused.value) == "temporary file: File too large (see TMPDIR)"


def test_a_missing_temporary_folder_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StorageError) as refused:
        scratch.write_down([])
    assert (
        str(refused.value) == "temporary file: No such file or directory (see TMPDIR)"
    )


def test_what_the_chunks_raise_is_raised() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one"
        raise KeyError

    with pytest.raises(KeyError):
        scratch.write_down(chunks())


def test_a_folder_is_gone_after_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scratch.folder("x-") as folder:
        (folder / "file").write_bytes(b"x")
        assert folder.name.startswith("x-")
    assert not folder.exists()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with (
        pytest.raises(StorageError, match=r"^temporary file: No such"),
        scratch.folder("x-"),
    ):
        pass
