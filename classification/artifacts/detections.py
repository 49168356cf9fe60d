"""``detections.json``: MegaDetector's batch output, format 1.6.

Written by ``run_detector_batch`` and ``merge_classification_detection_output``; read by
``crop_detections``, ``run_classifier``, ``merge_classification_detection_output``, and by
Timelapse and other tools of the field::

    {
     "info": {"format_version": "1.6", "detector": "md_v5a.0.0.pt"},
     "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
     "images": [
      {"file": "a/b.jpg", "detections": [{"category": "1", "conf": 0.914, "bbox": [0.1, 0.2, 0.3, 0.4]}]},
      {"file": "c.jpg", "detections": null, "failure": "truncated"}
     ]
    }

``bbox`` is [left, top, width, height] in fractions of the EXIF-upright image. An empty
list of detections means that nothing was found, null (in old files: no such key) that
the image failed. Images are sorted by file, detections by falling confidence. A ``conf``
below 0 marks a box that was taken back because it stands in picture after picture
(repeat-detection elimination): it keeps its place, on which names of crops rest, and no
threshold takes it.

After classification there is ``classification_categories``, and a detection may hold
``"classifications": [["2", 0.871], ["0", 0.1]]``: category ids and probabilities, most
probable first. Files of every format version since 1.0 are read, keys in any order; each
file stands once, and each category id is one of those listed. Names with backslashes, as
MegaDetector writes them on Windows, are read, and written on, with ``/``; how many is said.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import msgspec

from classification.artifacts import _names, _stream, layout
from classification.runtime import containment
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError, in_file
from detection.boxes import Box
from detection.records import ImageDetections

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Container,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )
    from pathlib import Path
    from typing import TypeAlias

    Rename: TypeAlias = Callable[[str], str | None]

_logger = logging.getLogger(__name__)

FORMAT_VERSION = "1.6"

_IMAGES = "images"
_NO_IMAGES = "no key images; run_detector_batch writes it"
_DETECTION_CATEGORIES = "detection_categories"
_CLASSIFICATION_CATEGORIES = "classification_categories"
_CLASSIFICATIONS = "classifications"
_RULE_BY_KEY = {
    "file": "the name of an image expected",
    "detections": "a list of detections, or null, expected",
    "failure": "a reason, or null, expected",
    "is_ground_truth": "true or false expected",
    "category": "the id of a category, as a string, expected",
    "bbox": "4 numbers in [0, 1] expected",
    "conf": "a number in [-1, 1] expected",
    "classifications": "a list of [category id, probability] expected",
}
_FAULT = re.compile(
    r"(?P<message>.*) - at `\$\[(?P<index>\d+)\](?P<rest>.*)`", re.DOTALL
)
_MISSING_KEY = re.compile(r"Object missing required field `(?P<key>\w+)`")
_ONE_BOX = re.compile(r"\.detections\[\d+\]$")

_NULL = b"null"
_BATCH = 512
_MOST_DIGITS = 18

_TYPED = msgspec.json.Decoder(list[ImageDetections])
_TYPED_ONE = msgspec.json.Decoder(ImageDetections)
_RAW = msgspec.json.Decoder(list[msgspec.Raw])
# These leave what they do not look into as it is written, each digit of a number.
_KEYS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_BOXES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_CLASSIFIED = msgspec.json.Decoder(list[tuple[str, msgspec.Raw]] | None)
_TEXT = msgspec.json.Decoder(str)

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Header:
    """Everything of the file but its images.

    Attributes:
        detection_categories: name by id.
        info: the ``info`` object, ``format_version`` included.
        classification_categories: name by id, or None where nothing is classified.
        other: further top-level keys, kept as they are.
    """

    detection_categories: Mapping[str, str]
    info: Mapping[str, Any]
    classification_categories: Mapping[str, str] | None = None
    other: Mapping[str, Any] = field(default_factory=dict)

    @property
    def detector(self) -> str:
        """Returns ``info.detector``, or ``unknown`` where the file names none."""
        return str(self.info.get("detector", "unknown"))


@dataclass(frozen=True)
class DetectionsFile:
    """A detections JSON that was checked from end to end.

    Images are read from the file when they are asked for, a block at a time.

    Attributes:
        path: where it is.
        header: all but the images.
        image_count: number of images, without those that are left out.
        left_out_count: number of images that ``rename`` leaves out.
        is_sorted: each image's name is that of the one before, or follows it.
    """

    path: Path
    header: Header
    image_count: int
    left_out_count: int
    is_sorted: bool
    _blocks: Sequence[_stream.Block] = field(repr=False)
    _rename: Rename | None = field(repr=False)
    _alike_hashes: frozenset[int] = field(repr=False)

    def images(self) -> Iterator[ImageDetections]:
        """Yields the images in file order; may be called again."""
        if self._rename is None:
            return self._read(_TYPED)
        return (image for _, image in self.placed_images())

    def placed_images(self) -> Iterator[tuple[int, ImageDetections]]:
        """Yields the images, each with its position in the file."""
        for place, image in enumerate(self._read(_TYPED)):
            if self._rename is None:
                yield place, image
            elif (name := self._rename(image.file)) is not None:
                yield place, msgspec.structs.replace(image, file=name)

    def spelled_at(self, places: Container[int]) -> dict[int, str]:
        """Return the names of some images as the file spells them, by position."""
        images = enumerate(self._read(_TYPED))
        return {place: image.file for place, image in images if place in places}

    def documents(self) -> Iterator[bytes]:
        """Yields each image's JSON text, with every key it holds, in file order."""
        documents = map(bytes, self._read(_RAW))
        if self._rename is None:
            return documents
        renamed = map(partial(_rename_document, rename=self._rename), documents)
        return (document for document in renamed if document is not None)

    def alike(self) -> dict[str, str]:
        """Returns the images that a disk may take for an earlier one, each with that one.

        See ``containment.find_alike``.
        """
        if not self._alike_hashes:
            return {}
        names = (image.file for image in self.images())
        return containment.find_alike(names, self._alike_hashes)

    def _read(self, decoder: msgspec.json.Decoder[list[T]]) -> Iterator[T]:
        with in_file(self.path):
            try:
                with self.path.open("rb") as file:
                    for block in self._blocks:
                        yield from decoder.decode(block.read(file))
            except (OSError, msgspec.DecodeError) as error:
                raise ArtifactError("it was changed while it was read") from error


def open_file(
    path: Path,
    *,
    rename: Rename | None = None,
    may_repeat: bool = False,
    chunk_bytes: int = _stream.CHUNK_BYTES,
) -> DetectionsFile:
    """Checks a detections JSON whole, and returns it ready to be read.

    Needs 8 bytes of memory per image, and a few MiB.

    Args:
        path: the file.
        rename: given an image's name in the file, returns the one that it is checked,
            and goes, by; or None to leave the image out; or raises ArtifactError. By
            default ``with_slashes``.
        may_repeat: an image may stand more than once.
        chunk_bytes: how much to read at a time.

    Raises:
        ArtifactError: it is missing, truncated, no JSON, or breaks the format; with
            the address, such as ``images[3].detections[0].bbox``.
    """
    survey = _Survey(rename=rename or with_slashes)
    return _check_whole(path, survey, chunk_bytes, may_repeat=may_repeat)


def with_slashes(name: str) -> str:
    """Return a name with ``/`` between its folders, as all systems take it."""
    return name.replace("\\", "/")


def read(
    path: Path, *, chunk_bytes: int = _stream.CHUNK_BYTES
) -> tuple[Header, list[ImageDetections]]:
    """Checks a detections JSON and returns all of it, parsing it once instead of twice.

    For files that fit in memory; see ``open_file``, which raises the same.
    """
    kept: list[ImageDetections] = []
    file = _check_whole(path, _Survey(keep=kept, rename=with_slashes), chunk_bytes)
    return file.header, kept


def read_stream(
    file: BinaryIO, take: Callable[[Sequence[ImageDetections], int], None]
) -> Header:
    """Reads a detections JSON once, from its first byte to its last.

    For what can be read only once, as it is unpacked. Of what ``open_file`` checks, this
    leaves to the caller whether names are safe and stand once, and whether categories
    are listed.

    Args:
        file: opened at its beginning.
        take: called in order with some images, and the position of the first.

    Returns:
        All but the images; it may have stood behind them.

    Raises:
        ArtifactError: it is truncated, no JSON, or breaks the format; with the address.
    """

    def take_block(text: bytes, first: int) -> int:
        images = _decode(text, first)
        take(images, first)
        return len(images)

    document, blocks = _stream.read_object(file, _IMAGES, take_block)
    header = _to_header(document)
    if blocks is None:
        raise ArtifactError(_NO_IMAGES)
    return header


def _check_whole(
    path: Path, survey: _Survey, chunk_bytes: int, *, may_repeat: bool = False
) -> DetectionsFile:
    with in_file(path):
        document, blocks = _read_top(path, survey, chunk_bytes)
        header = _to_header(document)
        if blocks is None:
            raise ArtifactError(_NO_IMAGES)
    if survey.backslash_count and survey.rename:
        _logger.warning(
            "%s: %d names of images have backslashes, as Windows writes them; they are "
            "read as with /",
            path,
            survey.backslash_count,
        )
    found = DetectionsFile(
        path,
        header,
        survey.image_count,
        survey.left_out_count,
        survey.is_sorted,
        blocks,
        survey.rename if survey.is_renamed else None,
        survey.seen.repeated_hashes(),
    )
    if not may_repeat:
        _refuse_repeated(found, survey.seen.repeated_hashes())
    _refuse_unknown(found, survey)
    return found


def _read_top(
    path: Path, survey: _Survey, chunk_bytes: int
) -> tuple[dict[str, Any], list[_stream.Block] | None]:
    if path.exists() and not path.is_file():
        raise ArtifactError("not a plain file")
    try:
        with path.open("rb") as file:
            return _stream.read_object(
                file, _IMAGES, survey.take, chunk_bytes=chunk_bytes
            )
    except OSError as error:
        raise ArtifactError(f"cannot read: {error.strerror}") from error


class _Survey:
    """What is noted of the images while they pass by.

    Attributes:
        image_count: number of images so far, without those that are left out.
        left_out_count: number of images that ``rename`` leaves out.
        backslash_count: number of names that hold a backslash.
        rename: what their names go through, or None.
        is_renamed: it changed one.
        is_sorted: their names never fall.
        seen: their names, as ``containment.fold`` makes them.
        categories: ids of the detection categories that stand at boxes.
        classes: likewise, of the classification categories.
    """

    def __init__(
        self,
        *,
        keep: list[ImageDetections] | None = None,
        rename: Rename | None = None,
        may_leave: bool = False,
    ) -> None:
        """Begins with no image; each that passes is appended to ``keep``."""
        self.image_count = 0
        self.left_out_count = 0
        self.backslash_count = 0
        self.rename = rename
        self.is_renamed = False
        self.is_sorted = True
        self._last = ""
        self._may_leave = may_leave  # names may lead out of the images' folder
        self._keep = keep
        self.seen = _names.SeenNames()
        self.categories: set[str] = set()
        self.classes: set[str] = set()

    def take(self, text: bytes, first: int) -> int:
        """Checks a block of images, given its position; returns how many there are."""
        images = _decode(text, first)
        names = self._take_names([image.file for image in images], first)
        boxes = [box for image in images for box in image.detections or ()]
        self.categories.update({box.category for box in boxes})
        classified = [box.classifications for box in boxes if box.classifications]
        self.classes.update([id_ for pairs in classified for id_, _ in pairs])
        if self._keep is not None:
            pairs = zip(images, names, strict=True)
            self._keep += [
                msgspec.structs.replace(one, file=name) for one, name in pairs
            ]
        return len(images)

    def _take_names(self, names: list[str], first: int) -> list[str]:
        """Checks the names of some images; returns those that they go by."""
        spelled: list[str | None] = [*names]
        self.backslash_count += sum("\\" in name for name in names)
        if self.rename is not None:
            spelled = _spelled(names, self.rename, first)
            self.is_renamed = self.is_renamed or spelled != names
            names = [name for name in spelled if name is not None]
        unsafe = None if self._may_leave else _names.find_unsafe(names)
        if unsafe is not None:
            where = f"{_IMAGES}[{first + spelled.index(names[unsafe])}].file"
            layout.checked_name(names[unsafe], where=where)
        self.image_count += len(names)
        self.left_out_count += len(spelled) - len(names)
        self.seen.add(containment.fold_all(names))
        in_order = [self._last, *names]
        self.is_sorted = self.is_sorted and in_order == sorted(in_order)
        self._last = in_order[-1]
        return names


def _decode(text: bytes, first: int) -> list[ImageDetections]:
    try:
        return _TYPED.decode(text)
    except msgspec.ValidationError as error:
        raise _explain(_located(text, error), first) from error


def _spelled(names: Sequence[str], rename: Rename, first: int) -> list[str | None]:
    renamed: list[str | None] = []
    try:
        renamed.extend(map(rename, names))  # which keeps those before a refusal
    except ArtifactError as error:
        where = f"{_IMAGES}[{first + len(renamed)}].file"
        raise ArtifactError(error.message, where=where) from error
    return renamed


def _located(text: bytes, error: msgspec.ValidationError) -> str:
    """Returns what msgspec found wrong, with the address that it knows or we find.

    It leaves the address out where a box has more than 4 numbers.
    """
    if " - at `$" in str(error):
        return str(error)
    for index, image in enumerate(msgspec.json.decode(text)):
        for number, box in enumerate(image.get("detections") or ()):
            if len(box["bbox"]) > len(Box.__struct_fields__):
                return f"{error} - at `$[{index}].detections[{number}].bbox`"
    return str(error)


def _explain(fault: str, first: int) -> ArtifactError:
    """Says in words what msgspec found wrong with a block of images."""
    match = _FAULT.fullmatch(fault)
    if not match:
        return ArtifactError(fault, where=_IMAGES)
    where = f"{_IMAGES}[{first + int(match['index'])}]{match['rest']}"
    if missing := _MISSING_KEY.fullmatch(match["message"]):
        where += f".{missing['key']}"
    keys = re.findall(r"\.(\w+)", where)
    if not keys or _ONE_BOX.search(where):
        return ArtifactError("an object expected", where=where)
    # Of images[3].detections[0].bbox[1], it is the rule of bbox that helps.
    where = where[: where.rindex(keys[-1]) + len(keys[-1])]
    return ArtifactError(_RULE_BY_KEY.get(keys[-1], match["message"]), where=where)


def _to_header(document: dict[str, Any]) -> Header:
    info = document.pop("info", None)
    if not isinstance(info, dict):
        raise ArtifactError("an object expected", where="info")
    if not isinstance(info.get("detector", ""), str):
        raise ArtifactError("a name expected", where="info.detector")
    names = document.pop(_DETECTION_CATEGORIES, None)
    classes = document.pop(_CLASSIFICATION_CATEGORIES, None)
    if classes is not None:
        classes = _checked_categories(classes, _CLASSIFICATION_CATEGORIES)
    return Header(
        info=info,
        detection_categories=_checked_categories(names, _DETECTION_CATEGORIES),
        classification_categories=classes,
        other=document,
    )


def _checked_categories(value: object, key: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ArtifactError("an object of names by id expected", where=key)
    for id_, name in value.items():
        where = f"{key}.{id_}"
        if not (id_.isascii() and id_.isdigit()):
            raise ArtifactError("ids are whole numbers", where=where)
        if len(id_) > _MOST_DIGITS:
            raise ArtifactError(f"ids have {_MOST_DIGITS} digits at most", where=where)
        if not isinstance(name, str) or not name.strip():
            raise ArtifactError("a name expected", where=where)
    return value


def _refuse_repeated(file: DetectionsFile, suspects: frozenset[int]) -> None:
    if not suspects:
        return
    seen: dict[str, int] = {}
    for index, image in file.placed_images():
        if hash(containment.fold(image.file)) not in suspects:
            continue
        if image.file in seen:
            first = seen[image.file]
            one, other = file.spelled_at({first, index}).values()
            spelled = f", spelled {one!r} there and {other!r} here" * (one != other)
            raise ArtifactError(
                f"{image.file!r} stands at images[{first}] already{spelled}",
                where=f"{file.path}: images[{index}].file",
            )
        seen[image.file] = index


def _refuse_unknown(file: DetectionsFile, survey: _Survey) -> None:
    header = file.header
    categories = survey.categories - header.detection_categories.keys()
    classes = survey.classes - (header.classification_categories or {}).keys()
    if not categories and not classes:
        return
    for index, image in file.placed_images():
        for number, box in enumerate(image.detections or ()):
            where = f"{file.path}: images[{index}].detections[{number}]"
            if box.category in categories:
                raise ArtifactError(
                    f"{box.category!r} is not in {_DETECTION_CATEGORIES}",
                    where=f"{where}.category",
                )
            for rank, (id_, _) in enumerate(box.classifications or ()):
                if id_ in classes:
                    raise ArtifactError(
                        f"{id_!r} is not in {_CLASSIFICATION_CATEGORIES}",
                        where=f"{where}.classifications[{rank}]",
                    )


class _Name(msgspec.Struct):
    file: str


_NAME = msgspec.json.Decoder(_Name)


def name_of(document: bytes) -> str:
    """Returns the file's name in an image's JSON text."""
    return _NAME.decode(document).file


class _Outcome(msgspec.Struct):
    file: str
    detections: msgspec.Raw = msgspec.Raw(_NULL)
    failure: str | None = None


_OUTCOMES = msgspec.json.Decoder(list[_Outcome])


def outcomes(documents: Iterable[bytes]) -> Iterator[tuple[str, bool, bytes]]:
    """Yields (name, whether it failed, JSON text without white space) of each image."""
    rest = iter(documents)
    while some := list(islice(rest, _BATCH)):
        text = msgspec.json.format(b"[" + b",".join(some) + b"]", indent=-1)
        pairs = zip(_OUTCOMES.decode(text), _RAW.decode(text), strict=True)
        for outcome, document in pairs:
            failed = bool(outcome.failure) or bytes(outcome.detections) == _NULL
            yield outcome.file, failed, bytes(document)


def failure_of(document: bytes) -> str:
    """Returns why an image failed, as its JSON text says."""
    return _TYPED_ONE.decode(document).failure or "no reason given"


def _rename_document(document: bytes, *, rename: Rename) -> bytes | None:
    image = _KEYS.decode(document)
    name = rename(_TEXT.decode(image["file"]))
    return None if name is None else _encode({**image, "file": _raw(name)})


def renumber(
    document: bytes,
    id_by_category: Mapping[str, str],
    id_by_class: Mapping[str, str] | None,
) -> bytes:
    """Gives the categories in an image's JSON text other ids; all else stays.

    Args:
        document: the text.
        id_by_category: new id by the id of each detection category.
        id_by_class: likewise, of the classification categories; None takes the
            classifications out.
    """
    image = _KEYS.decode(document)
    boxes = _BOXES.decode(image.get("detections", _NULL))
    for box in boxes or ():
        box["category"] = _raw(id_by_category[_TEXT.decode(box["category"])])
        classified = _CLASSIFIED.decode(box.get(_CLASSIFICATIONS, _NULL))
        if id_by_class is None:
            box.pop(_CLASSIFICATIONS, None)
        elif classified is not None:
            pairs = [(id_by_class[id_], value) for id_, value in classified]
            box[_CLASSIFICATIONS] = _raw(pairs)
    image["detections"] = _raw(boxes)
    return _encode(image)


def encode_classifications(ranked: Iterable[tuple[int, float]]) -> bytes:
    """Returns the JSON text of (category id, probability) pairs, in their order."""
    return _encode([(str(category), value) for category, value in ranked])


def classify(
    document: bytes, said_by_box: Mapping[int, bytes], *, file: str | None = None
) -> bytes:
    """Adds classifications to an image's JSON text, whose other keys stay.

    Args:
        document: the text.
        said_by_box: what ``encode_classifications`` returned, by position of the box.
        file: the image's new name, or None to keep it.

    Raises:
        LookupError: there is no such box.
    """
    image = msgspec.json.decode(document)
    boxes = image.get("detections") or []
    for box, said in said_by_box.items():
        boxes[box]["classifications"] = msgspec.Raw(said)
    if file is not None:
        image["file"] = file
    return _encode(image)


class _Place(msgspec.Struct, gc=False):
    bbox: tuple[float, float, float, float]


class _Places(msgspec.Struct, gc=False):
    detections: list[_Place] | None = None


_PLACES = msgspec.json.Decoder(_Places)


def boxes_of(document: bytes) -> list[Box]:
    """Return the boxes in an image's JSON text."""
    return [Box(*one.bbox) for one in _PLACES.decode(document).detections or ()]


def encode_drawn(file: str, boxes: Iterable[tuple[str, Box]]) -> bytes:
    """Returns the JSON text of an image whose boxes people drew, with confidence 1.

    Args:
        file: name of the image.
        boxes: category id and place of each.
    """
    drawn = [
        {"category": category, "conf": 1.0, "bbox": box} for category, box in boxes
    ]
    return _encode({"file": file, "detections": drawn})


def write(path: Path, header: Header, images: Iterable[bytes]) -> str:
    """Writes a detections JSON, streaming; returns its SHA-256.

    Args:
        path: the file; it appears whole or not at all.
        header: all but the images.
        images: the JSON text of each image, in the order to write.
    """
    top: dict[str, Any] = {
        "info": header.info,
        _DETECTION_CATEGORIES: header.detection_categories,
    }
    if header.classification_categories is not None:
        top[_CLASSIFICATION_CATEGORIES] = header.classification_categories
    total = hashlib.sha256()
    with replacing(path) as file:
        for text in _texts({**top, **header.other}, images):
            total.update(text)
            file.write(text)
    return total.hexdigest()


def _texts(top: Mapping[str, Any], images: Iterable[bytes]) -> Iterator[bytes]:
    yield b"{\n"
    for key, value in top.items():
        yield b" %s: %s,\n" % (_encode(key), _encode(value))
    yield b' "images": ['
    for number, image in enumerate(images):
        yield (b",\n  " if number else b"\n  ") + image
    yield b"\n ]\n}\n"


def join(path: Path, sources: Sequence[Path]) -> Header:
    """Puts the images of several detections JSONs one behind the other; returns the header.

    They are streamed; 8 bytes per image are held in memory. Names may be absolute: they
    are copied, not followed.

    Args:
        path: the file to write.
        sources: in order; all but their images is the same in all.

    Raises:
        ArtifactError: one breaks the format, differs from the first in more than its
            images, or has an image of another.
    """
    files = [
        _check_whole(source, _Survey(may_leave=True), _stream.CHUNK_BYTES)
        for source in sources
    ]
    for file in files:
        if file.header != files[0].header:
            raise ArtifactError(
                f"info or categories differ from those of {files[0].path}",
                where=str(file.path),
            )

    def named() -> Iterator[tuple[Path, list[str], list[bytes]]]:
        for file in files:
            documents = file.documents()
            while some := list(islice(documents, _BATCH)):
                yield file.path, [name_of(document) for document in some], some

    joined = chain.from_iterable(_names.once(named(), named))
    write(path, files[0].header, joined)
    return files[0].header


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value)


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))
