"""Which images a run works on: found in a folder, named in a list, or one file.

The images of a run are fixed when it begins, in the order of their names, so that a
run that goes on after a kill works on the same ones in the same order.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self, TypeAlias
from urllib.parse import urlsplit

from classification.artifacts import image_list
from classification.artifacts.layout import checked_name, is_image_name
from classification.runtime import scratch
from classification.runtime.addresses import is_address, shown
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from classification.storage.azure import AzureContainerStore

_FolderId: TypeAlias = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class ImageFile:
    """An image to work on.

    Attributes:
        name: what the output calls it; printable where its own name is not, and without
            what may be a token.
        path: where it is: a path, or a web address with its token.
        problem: why it cannot even be tried; empty where it can.
    """

    name: str
    path: str
    problem: str = ""


def find(images: Path, *, recursive: bool, relative: bool) -> Iterator[ImageFile]:
    """Yields the images that a person means by ``images``, sorted by name.

    In a folder these are the files that end as images do. Names that begin with a dot
    are passed over, as are folders that lead back into themselves by a link.

    Args:
        images: an image, a ``.txt`` or ``.json`` list of images, or a folder.
        recursive: look into the folders of the folder, too.
        relative: name images relative to the folder, not as ``images`` leads to them.

    Raises:
        ConfigurationError: there is no such file, or ``relative`` without a folder.
        ArtifactError: the list is malformed.
        StorageError: the folder cannot be listed.
    """
    if images.is_dir():
        return _in_folder(images, recursive=recursive, relative=relative)
    if relative:
        raise ConfigurationError(
            f"{images} is not a folder; --output_relative_filenames needs one"
        )
    if not os.path.lexists(images):
        raise ConfigurationError(f"no such image, list or folder: {images}")
    if image_list.is_list_name(images.name):
        return (_named(name) for name in sorted(image_list.read(images), key=_shown))
    return iter([_named(str(images))])


def find_below(folder: Path, may_enter: Callable[[str], bool]) -> Iterator[ImageFile]:
    """Yields the images in a folder and its folders, named relative to it, sorted.

    Args:
        folder: where to look.
        may_enter: called with the path of each folder in it; where it says no, as for a
            link that leads elsewhere, what is inside is passed over.

    Raises:
        StorageError: the folder cannot be listed.
    """
    return _walk(folder, recursive=True, may_enter=may_enter)


def find_at(
    url: str, store: AzureContainerStore, *, recursive: bool
) -> Iterator[ImageFile]:
    """Yields the image at a web address, or those in a container, sorted by name.

    Args:
        url: of an image, told by how its path ends; else of a container, or of a folder
            in one, whose images are named as they are below it.
        store: the same container.
        recursive: take the images of the folder's folders, too.

    Raises:
        AccessError: the token does not open the container, or does not let it be listed.
        StorageError: the container cannot be listed.
    """
    if is_image_name(urlsplit(url).path):
        return iter([_named(url)])
    return find_in(store, recursive=recursive)


def find_in(
    store: AzureContainerStore, *, recursive: bool = True
) -> Iterator[ImageFile]:
    """Yields the images in a container, named as they are below it; see ``find_at``."""
    for name in store.names():
        if is_image_name(name) and (recursive or "/" not in name):
            shown_name, problem = _inside(name)
            yield ImageFile(shown_name, store.url_of(name), problem)


def _named(path: str) -> ImageFile:
    if is_address(path):
        return ImageFile(shown(path), path)
    return ImageFile(_shown(path), path, _fault(path))


def _in_folder(folder: Path, *, recursive: bool, relative: bool) -> Iterator[ImageFile]:
    given = "" if relative or folder == Path() else f"{folder.as_posix().rstrip('/')}/"
    base, fault = _shown(given), _fault(given)
    for file in _walk(folder, recursive=recursive):
        yield ImageFile(base + file.name, file.path, file.problem or fault)


def _walk(
    folder: Path,
    *,
    recursive: bool,
    may_enter: Callable[[str], bool] = lambda _: True,
) -> Iterator[ImageFile]:
    """Walks the tree with a stack of its own: trees may be deeper than Python's."""
    try:
        levels = [(_id(folder.stat()), _listing(str(folder), ""))]
    except OSError as error:
        raise StorageError(f"cannot list {folder}: {error.strerror}") from error
    while levels:
        entry = next(levels[-1][1], None)
        if entry is None:
            levels.pop()
        elif not entry.name.endswith("/"):
            yield entry
        elif recursive and may_enter(entry.path):
            try:
                found = _id(Path(entry.path).stat())
                if all(found != above for above, _ in levels):
                    levels.append((found, _listing(entry.path, entry.name)))
            except OSError as error:
                problem = f"a folder that cannot be listed: {error.strerror}"
                yield ImageFile(entry.name.rstrip("/"), entry.path, problem)


def _listing(folder: str, prefix: str) -> Iterator[ImageFile]:
    """Lists a folder by name; a folder's ends with ``/``, which sorts as paths do."""
    found: list[ImageFile] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            shown, problem = _inside(entry.name)
            name = prefix + shown
            if _is_folder(entry):
                found.append(ImageFile(f"{name}/", entry.path))
            if is_image_name(entry.name):
                found.append(ImageFile(name, entry.path, problem))
    return iter(sorted(found, key=lambda file: (file.name, file.path)))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere, or round in a circle
        return False


def _id(status: os.stat_result) -> _FolderId:
    return status.st_dev, status.st_ino


def _shown(name: str) -> str:
    """Spells bytes that are not UTF-8, which JSON cannot hold, as ``%E9``."""
    if name.isascii():
        return name
    return "".join(f"%{ord(c) & 0xFF:02X}" if _is_raw(c) else c for c in name)


def _is_raw(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _fault(name: str) -> str:
    return "" if _shown(name) == name else "its name is not UTF-8; rename it"


def _inside(name: str) -> tuple[str, str]:
    """Returns what a file of a folder is called in the output, and what is wrong."""
    try:
        checked_name(name)
    except ArtifactError:
        shown = _shown(name).replace("\\", "%5C").replace(":", "%3A")
        return shown, "later steps would refuse the file's name; rename it"
    return _shown(name), _fault(name)


class ImageList:
    """The images of a run, fixed; a context manager, iterable any number of times.

    It lies in an unnamed file, so that a million images take no memory.

    Attributes:
        digest: SHA-256 of the names, for the key of a journal.
        repeated: how many names stood twice and are in it once.
    """

    def __init__(
        self, file: BinaryIO, count: int, repeated: int, digest: str, *, first: int = 0
    ) -> None:
        """Takes over an open file; call ``ImageList.of`` instead."""
        self._file = file
        self._first = first
        self._count = count
        self.repeated = repeated
        self.digest = digest

    @classmethod
    def of(cls, files: Iterable[ImageFile]) -> Self:
        """Fixes the images to work on.

        Args:
            files: sorted by name; of a name that stands twice, the first counts.

        Raises:
            ConfigurationError: two web addresses have one name.
            StorageError: there is no room for the list in the temporary folder.
        """
        total, count, repeated, last = hashlib.sha256(), 0, 0, ImageFile("", "")

        def lines() -> Iterator[bytes]:
            nonlocal count, repeated, last
            for file in files:
                if file.name == last.name and count:
                    _refuse_hidden_difference(last, file)
                    repeated += 1
                    continue
                total.update(_line(file.name, _without_token(file), file.problem))
                count, last = count + 1, file
                yield _line(file.name, file.path, file.problem)

        try:
            spool = scratch.write_down(lines())
        except OSError as error:
            raise StorageError(f"cannot list the images: {error.strerror}") from error
        return cls(spool, count, repeated, total.hexdigest())

    def __enter__(self) -> Self:
        """Returns the list itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Frees the file."""
        self._file.close()

    def __len__(self) -> int:
        """Returns the number of images."""
        return self._count

    def part(self, span: range) -> ImageList:
        """Returns some of the images, of the same digest; it ends with this list."""
        return ImageList(
            self._file, len(span), self.repeated, self.digest, first=span.start
        )

    def __iter__(self) -> Iterator[ImageFile]:
        """Yields the images; one such walk at a time."""
        self._file.seek(0)
        end = self._first + self._count
        for line in itertools.islice(self._file, self._first, end):
            name, path, problem = json.loads(line)
            yield ImageFile(name, path, problem)


def _line(*parts: str) -> bytes:
    return json.dumps(parts).encode() + b"\n"


def _without_token(file: ImageFile) -> str:
    """Returns where an image is, the same when its token has been renewed."""
    return shown(file.path) if is_address(file.path) else file.path


def _refuse_hidden_difference(one: ImageFile, other: ImageFile) -> None:
    if is_address(other.path) and other.path != one.path:
        raise ConfigurationError(
            f"two addresses of {other.name} differ in what stands behind '?'; that is taken "
            "for a token, and names in the output end before it"
        )
