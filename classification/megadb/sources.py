"""Opens a metadata file as it was downloaded: plain, gzipped, or in a zip."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from classification.runtime import progress
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip.

    Attributes:
        archive: the zip.
        name: of the file, with its folders in the zip.
    """

    archive: Path
    name: str

    def __str__(self) -> str:
        """Returns its address, for messages."""
        return f"{self.archive}/{self.name}"


@contextmanager
def open_bytes(path: Path | Member, suffix: str) -> Iterator[BinaryIO]:
    """Opens a file to be read once, from its beginning; progress is shown in bytes.

    Args:
        path: the file; what ends with ``.gz`` or ``.zip`` is unpacked while it is read.
        suffix: how the one file in a zip ends, such as ``.json``.

    Raises:
        ArtifactError: it is missing, cannot be read or unpacked, or it is a zip with
            no such file or several.
    """
    stored = path.archive if isinstance(path, Member) else path
    try:
        with (
            _plain_file(stored).open("rb") as file,
            progress.bar(stored.stat().st_size, unit="bytes") as bar,
            _unpacked(path, file, suffix) as unpacked,
        ):
            yield cast("BinaryIO", _Counted(unpacked, file, bar.update))
    except (EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise ArtifactError(f"cannot be unpacked: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"cannot read: {reason}") from error


def _plain_file(path: Path) -> Path:
    if path.exists() and not path.is_file():
        raise ArtifactError("not a plain file")
    return path


@contextmanager
def _unpacked(path: Path | Member, file: BinaryIO, suffix: str) -> Iterator[IO[bytes]]:
    if isinstance(path, Member):
        with zipfile.ZipFile(file) as archive, _open_member(archive, path) as member:
            yield member
    elif path.suffix == ".gz":
        with gzip.open(file) as unpacked:
            yield cast("IO[bytes]", unpacked)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            name = _only_member(archive, suffix)
            with _open_member(archive, Member(path, name)) as member:
                yield member
    else:
        yield file


def _open_member(archive: zipfile.ZipFile, member: Member) -> IO[bytes]:
    try:
        file = archive.open(member.name)
    except KeyError:
        raise ArtifactError("no such file in the zip") from None
    except NotImplementedError:
        raise
    except RuntimeError as error:  # so it says that a password is needed
        raise ArtifactError(f"cannot be unpacked: {error}") from error
    if member.name.endswith(".gz"):
        return cast("IO[bytes]", gzip.open(file))
    return file


def _only_member(archive: zipfile.ZipFile, suffix: str) -> str:
    # Macintosh's archiver adds a hidden twin of each file.
    names = [
        name
        for name in archive.namelist()
        if name.endswith(suffix) and not name.startswith("__MACOSX/")
    ]
    if len(names) != 1:
        raise ArtifactError(
            f"a zip with one {suffix} file expected, {len(names)} found"
        )
    return names[0]


class _Counted:
    """A file whose progress is shown while it is read."""

    def __init__(
        self, unpacked: IO[bytes], file: BinaryIO, update: Callable[[float], object]
    ) -> None:
        self._unpacked = unpacked
        self._file = file
        self._update = update
        self._shown = 0

    def read(self, size: int) -> bytes:
        data = self._unpacked.read(size)
        self._update(self._file.tell() - self._shown)
        self._shown = self._file.tell()
        return data
