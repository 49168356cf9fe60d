"""The crops of a folder, each with the record of what it was cut from."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from classification.artifacts import crop_record
from classification.artifacts.crop_index import CropIndex, Entry
from classification.cropping.existing import ExistingCrops
from classification.runtime.contents import Stamp
from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from classification.cropping.wanted import Source


class RecordedCrops:
    """The crops of a folder: which there are, and what each was cut from.

    Attributes:
        index: what is known of them without opening them.
        silent: how many that ``misfit`` was asked for do not say what they were cut from.
    """

    def __init__(
        self, crops_dir: Path, index: CropIndex, *, folders_kept: int | None = None
    ) -> None:
        """Take over an open index; call ``reading`` or ``filling`` instead."""
        self.index = index
        self.silent = 0
        self._root = os.fspath(crops_dir)
        self._existing = ExistingCrops(crops_dir, folders_kept=folders_kept)

    @classmethod
    @contextmanager
    def reading(
        cls, crops_dir: Path, *, folders_kept: int | None = None
    ) -> Iterator[Self]:
        """Open a folder of crops; see ``ExistingCrops`` for ``folders_kept``."""
        with CropIndex.open(crops_dir) as index:
            yield cls(crops_dir, index, folders_kept=folders_kept)

    @classmethod
    @contextmanager
    def filling(cls, crops_dir: Path) -> Iterator[Self]:
        """Open a folder of crops that the block adds to."""
        with CropIndex.open(crops_dir, writable=True) as index:
            yield cls(crops_dir, index)

    def find(self, name: str) -> Entry | None:
        """Return what is known of a crop; None where there is no such crop.

        The crop is opened only where the index does not know it.

        Raises:
            StorageError: it cannot be told whether there is one.
        """
        if name not in self._existing:
            return None
        path = os.path.join(self._root, name)  # noqa: PTH118 - a Path costs more than the question
        try:
            status = os.stat(path)  # noqa: PTH116 - as above
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"cannot look for {path}: {error.strerror}") from error
        stamp = Stamp(status.st_size, status.st_mtime_ns)
        entry = self.index.find(name, stamp)
        if entry is None:
            entry = Entry(stamp, crop_record.read(Path(path)), None)
            self.index.add(name, entry)
        return entry

    def misfit(self, name: str, source: Source) -> str | None:
        """Say why a crop is not to be taken for that of a box.

        How it was cut does not matter.

        Returns:
            The reason; empty where it is of the box, or says nothing; None where there is
            no such crop.

        Raises:
            StorageError: it cannot be told whether there is one.
        """
        entry = self.find(name)
        if entry is None:
            return None
        if entry.record is None:
            self.silent += 1
            return ""
        wanted = msgspec.structs.replace(entry.record, **source._asdict())
        return crop_record.difference(entry.record, wanted)

    def check_is_there(self) -> None:
        """See that the folder did not vanish since it was opened to be filled.

        Raises:
            StorageError: it did; a later crop may have made it anew, without the others.
        """
        if self.index.is_lost or not os.path.isdir(self._root):  # noqa: PTH112 - asked often
            raise StorageError(
                f"{self._root} vanished while crops were written into it; see that its "
                "disk is there, and run the same again"
            )
