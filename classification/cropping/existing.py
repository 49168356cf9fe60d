"""Which crops exist already, without asking the disk for each of them."""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.runtime.errors import StorageError
from classification.runtime.name_set import NameSet
from classification.storage.local import Presence

if TYPE_CHECKING:
    from pathlib import Path

# A folder is listed only once so many of its crops were asked for one by one.
_ASK_FIRST = 32
_FOLDERS_KEPT = 256


@dataclass(slots=True)
class _Folder:
    asked: int = 0
    listing: NameSet | None = None


class ExistingCrops:
    """The files below a crops folder, as they were when a part of it was first read.

    A listing is a ``NameSet``, so that folders of a million crops are no burden.
    """

    def __init__(self, crops_dir: Path, *, folders_kept: int | None = None) -> None:
        """Names the folder; it need not exist.

        Args:
            crops_dir: the crops folder.
            folders_kept: how many folders are remembered; None for a few, which is
                enough where crops are asked for folder by folder.
        """
        self._root = os.fspath(crops_dir)
        self._presence = Presence(crops_dir)
        self._folders_kept = folders_kept or _FOLDERS_KEPT
        self._folder_by_name: OrderedDict[str, _Folder] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        """Says whether the crop ``name``, relative to the crops folder, exists.

        Raises:
            StorageError: it cannot be told, or the crops folder vanished; never taken
                for "no".
        """
        folder_name, _, file_name = name.rpartition("/")
        folder = self._folder(folder_name)
        if folder.listing is None:
            folder.asked += 1
            if folder.asked <= _ASK_FIRST:
                if _is_there(os.path.join(self._root, name)):  # noqa: PTH118 - a Path costs more than the question
                    return True
                self._presence.check()
                return False
            folder.listing = list_names(os.path.join(self._root, folder_name))  # noqa: PTH118 - as above
            self._presence.check()
        return file_name in folder.listing

    def _folder(self, name: str) -> _Folder:
        folder = self._folder_by_name.get(name)
        if folder is None:
            folder = self._folder_by_name[name] = _Folder()
            if len(self._folder_by_name) > self._folders_kept:
                self._folder_by_name.popitem(last=False)
        else:
            self._folder_by_name.move_to_end(name)
        return folder


def _is_there(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - as above
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False  # no file has such a name
        raise StorageError(f"cannot look for {path}: {error.strerror}") from error
    return True


def list_names(folder: str) -> NameSet:
    """Returns the names in a folder; none if it does not exist.

    Raises:
        StorageError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return NameSet(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return NameSet()
    except OSError as error:
        raise StorageError(f"cannot list {folder}: {error.strerror}") from error
