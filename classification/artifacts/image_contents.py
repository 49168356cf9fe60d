"""``<detections>.images.jsonl.gz``: which images, and which detector, detections are of.

Written by ``run_detector_batch`` beside its OUTPUT, and by ``detect_and_crop``,
``cache_batchapi_outputs`` and ``merge_shards`` beside the files of the detection cache, and by
``train_classifier`` into its run folder, there of the crops of classification_ds.csv; read
by whoever asks whether an image, or the detector, is another one by now. Detections
themselves hold nothing of it. JSON Lines in one gzip member; the first line is of the whole
file, each further one of an image::

    {"sha256":"77ab…02","detector":"5f0c…e1","run":"images=4b2a…9d options=c0de…11"}
    {"file":"a/b.jpg","digest":"cae6…70","size":2514067,"modified":1714000000000000000}
    {"file":"c.jpg","digest":"d41d…7e","size":48213,"tag":"0x8DC6A1"}
    {"file":"d.jpg","digest":"9f86…08"}

It stands beside the detections, whose name it bears in full
(``detections.json.images.jsonl.gz``), and holds their SHA-256: beside any other file of that
name it says nothing. ``detector`` is a digest of all files of the model that the listed images
went through, whatever their names; ``run`` one of all else that shaped the detections, by parts;
they are missing where they are not known. ``file`` is the name that the detections have for the
image, in their order; images that could not be read are not listed. ``digest`` is the BLAKE2b of
its bytes, 16 bytes long; ``size`` is in bytes; ``modified`` in nanoseconds since 1970; ``tag`` is
the MD5 or the ETag that a server told. Of the last three only what is known is there.
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from classification.runtime import registry
from classification.runtime.atomic import replacing
from classification.runtime.contents import Contents, Stamp
from classification.runtime.errors import ArtifactError, StorageError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from detection.records import ImageDetections

SUFFIX = ".images.jsonl.gz"

_LEVEL = 6
_LONGEST_LINE = 1 << 20  # far above any name of a file


class Header(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    omit_defaults=True,
):
    """The first line.

    Attributes:
        sha256: of the detections that are meant.
        detector: digest of the model's files; empty where it is not known.
        run: key of the run, see ``journal.key``; empty where it is not known.
    """

    sha256: str
    detector: str = ""
    run: str = ""


class _Line(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
):
    file: str
    digest: str
    size: int = -1
    modified: int = 0
    tag: str = ""


_HEADER = msgspec.json.Decoder(Header)
_IMAGE = msgspec.json.Decoder(_Line)


@dataclass(frozen=True)
class Record:
    """What is known of the images of a file of detections.

    Attributes:
        path: where the record is.
        header: its first line.
    """

    path: Path
    header: Header

    def images(self) -> Iterator[tuple[str, Contents]]:
        """Yield each image's name and contents, in the order of the detections.

        Raises:
            ArtifactError: a line breaks the format.
        """
        with in_file(self.path), _opened(self.path) as file:
            _next_line(file, 1)
            number = 2
            while text := _next_line(file, number):
                yield _parse(text, number)
                number += 1


class _NothingToTell(Exception):  # noqa: N818 - no error
    """There is no record to write."""


def path_beside(results: Path) -> Path:
    """Return where the record of a file of detections is."""
    return results.with_name(results.name + SUFFIX)


def read(path: Path) -> Record:
    """Read the first line of a record.

    Raises:
        ArtifactError: it is missing, or breaks the format.
    """
    with in_file(path), _opened(path) as file:
        text = _next_line(file, 1)
        try:
            return Record(path, _HEADER.decode(text))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ArtifactError(str(error), where="line 1") from error


def find(results: Path) -> Record | None:
    """Return the record of a file of detections; None where there is none of them.

    Raises:
        ArtifactError: what stands beside the file is no such record.
    """
    path = path_beside(results)
    if not (path.exists() and results.exists()):
        return None
    record = read(path)
    return record if registry.sha256_of(results) == record.header.sha256 else None


def pair(
    images: Iterable[ImageDetections], record: Record | None
) -> Iterator[tuple[ImageDetections, Contents | None]]:
    """Yield each image of a file of detections, and what its record says of it.

    Args:
        images: in the order of the file.
        record: see ``find``; None where nothing is known.

    Raises:
        ArtifactError: a line of the record breaks the format.
    """
    known = record.images() if record else iter(())
    name, contents = next(known, ("", None))
    for image in images:
        if image.file == name:
            yield image, contents
            name, contents = next(known, ("", None))
        else:
            yield image, None


def write(
    path: Path, header: Header, images: Iterable[tuple[str, Contents | None]]
) -> None:
    """Write a record, streaming, whole or not at all.

    Args:
        path: see ``path_beside``.
        header: the first line.
        images: name and contents in the order of the detections; an image whose
            contents are None is left out.
    """
    encode = msgspec.json.Encoder().encode
    with (
        replacing(path) as file,
        gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as packed,
    ):
        packed.write(encode(header) + b"\n")
        for name, contents in images:
            if contents is not None:
                stamp = contents.stamp or Stamp(-1)
                line = _Line(
                    file=name,
                    digest=contents.digest,
                    size=stamp.size,
                    modified=stamp.modified,
                    tag=stamp.tag,
                )
                packed.write(encode(line) + b"\n")


def tell(
    results: Path,
    images: Iterable[tuple[str, Contents | None]],
    *,
    detector: str,
    run: str = "",
    sha256: str = "",
) -> None:
    """Write the record of a file of detections that is complete; see ``Header``.

    The file is read for its SHA-256 where that is not given.
    """
    sha256 = sha256 or registry.sha256_of(results)
    header = Header(sha256=sha256, detector=detector, run=run)
    write(path_beside(results), header, images)


def remove(results: Path) -> None:
    """Take away the record of a file of detections, and what a killed run left of it.

    Raises:
        StorageError: it cannot be removed.
    """
    path = path_beside(results)
    try:
        with suppress(_NothingToTell), replacing(path):
            raise _NothingToTell  # so the temporary file is removed
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror}") from error


def _parse(text: bytes, number: int) -> tuple[str, Contents]:
    try:
        line = _IMAGE.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(str(error), where=f"line {number}") from error
    stamp = Stamp(line.size, line.modified, line.tag)
    return line.file, Contents(line.digest, None if stamp == Stamp(-1) else stamp)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with gzip.open(path) as file:
            yield file  # type: ignore[misc]  # it is a BinaryIO in all but name
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ArtifactError(f"damaged or truncated gzip: {error}") from error
    except OSError as error:
        raise ArtifactError(f"cannot read: {error.strerror}") from error


def _next_line(file: BinaryIO, number: int) -> bytes:
    text = file.readline(_LONGEST_LINE)
    if len(text) == _LONGEST_LINE:
        raise ArtifactError("a line of more than 1 MiB", where=f"line {number}")
    return text
