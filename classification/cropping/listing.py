"""Which crops there are: those of a detections JSON, or all images of a folder.

The list may be long, so it is made once, on disk, and read from there.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Self

from classification.artifacts import layout, predictions_info
from classification.artifacts.layout import CropName
from classification.cropping.wanted import Source
from classification.runtime import scratch
from classification.runtime.errors import ArtifactError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from classification.runtime.contents import Contents
    from detection.records import ImageDetections


class ListedCrop(NamedTuple):
    """A crop to be classified.

    Attributes:
        name: relative to the crops folder.
        box: digest of its box in the detections, in hex; empty where it is not known.
    """

    name: str
    box: str = ""


def crops_of(
    images: Iterable[tuple[ImageDetections, Contents | None]],
    suffixes: Sequence[str],
    misfit: Callable[[str, Source], str | None],
    pass_over: Callable[[str, str], object],
    *,
    detector_digest: str | None = None,
) -> Iterator[ListedCrop]:
    """Yield each box's crop that exists, in the order of the boxes.

    Args:
        images: boxes, in the order of their file, and what each image was when these were
            found, or None.
        suffixes: what may stand at the end of a crop's name, preferred ones first;
            the first that exists and is of the box is taken.
        misfit: says why a crop is not of a box; None where there is no such crop.
        pass_over: gets the name of a crop that is of another box, and why, where there is
            none of this box.
        detector_digest: of the detector that found the boxes, or None.

    Raises:
        ArtifactError: an image's name leads out of the crops folder.
    """
    for number, (image, contents) in enumerate(images):
        layout.checked_name(image.file, where=f"images[{number}].file")
        for index, detection in enumerate(image.detections or ()):
            source = Source(
                image.file,
                detection.bbox,
                image.is_ground_truth,
                contents.digest if contents else None,
                None if image.is_ground_truth else detector_digest,
            )
            others = []
            for end in suffixes:
                name = str(CropName(image.file, index, end))
                reason = misfit(name, source)
                if reason == "":
                    box = predictions_info.digest_box(detection.bbox)
                    yield ListedCrop(name, box.hex())
                    break
                if reason:
                    others.append((name, reason))
            else:
                for name, reason in others:
                    pass_over(name, reason)


def suffixes_below(folder: Path) -> set[str]:
    """Return the ends of the names of all crops below a folder; see ``CropName.suffix``.

    Raises:
        StorageError: a folder cannot be listed.
    """
    suffixes = set()
    for name in images_below(folder):
        with suppress(ArtifactError):
            suffixes.add(CropName.parse(name).suffix)
    return suffixes


def images_below(folder: Path) -> Iterator[str]:
    """Yields the name of each image file below ``folder``, relative to it, sorted.

    Files that do not end as images do are left out. Only one folder's names at a
    time are held in memory.

    Raises:
        StorageError: a folder cannot be listed.
    """
    yield from _images_below(os.fspath(folder), "")


def _images_below(root: str, prefix: str) -> Iterator[str]:
    # A folder sorts by its name with a slash: so the whole list is in plain order.
    for name in sorted(_entries(os.path.join(root, prefix))):  # noqa: PTH118 - a Path per crop costs more than the listing
        if name.endswith("/"):
            yield from _images_below(root, prefix + name)
        elif layout.is_image_name(name):
            yield prefix + name


def _entries(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
                for entry in entries
            ]
    except OSError as error:
        raise StorageError(f"cannot list {folder}: {error.strerror}") from error


class CropList:
    """Crops in order, kept in a temporary file; use as a context manager.

    Attributes:
        count: number of crops.
        sha256: hex digest of all names in order.
    """

    def __init__(
        self, file: BinaryIO, count: int, sha256: str, *, first: int = 0
    ) -> None:
        """Takes over an open file; call ``CropList.collect`` instead."""
        self.count = count
        self.sha256 = sha256
        self._file = file
        self._first = first

    @classmethod
    def collect(cls, crops: Iterable[ListedCrop]) -> Self:
        """Writes down all crops.

        Raises:
            StorageError: there is no room for them in the temporary folder.
        """
        total, count = hashlib.sha256(), 0

        def lines() -> Iterator[bytes]:
            nonlocal count
            for crop in crops:
                total.update(json.dumps(crop.name).encode() + b"\n")
                count += 1
                yield json.dumps(crop).encode() + b"\n"

        file = scratch.write_down(lines())
        return cls(file, count, total.hexdigest())

    def __enter__(self) -> Self:
        """Returns the list itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file, which deletes it."""
        self._file.close()

    def part(self, span: range) -> CropList:
        """Returns some of the crops, of the same digest; it ends with this list."""
        return CropList(self._file, len(span), self.sha256, first=span.start)

    def batches(self, size: int) -> Iterator[list[ListedCrop]]:
        """Yields the crops ``size`` at a time, fewer at the end; one iteration at once."""
        self._file.seek(0)
        end = self._first + self.count
        lines = islice(self._file, self._first, end)
        while batch := [ListedCrop(*json.loads(line)) for line in islice(lines, size)]:
            yield batch
