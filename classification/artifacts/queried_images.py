"""``queried_images.json``: the images of a training set, and what is known of each.

Written by ``json_validator``; read by ``detect_and_crop``,
``create_classification_dataset`` and ``merge_classification_detection_output``::

    {
     "caltech/cct_images/a.jpg": {
      "dataset": "caltech",
      "location": "13",
      "class": "mountain_lion",
      "bbox": [{"category": "animal", "bbox": [0.347, 0.237, 0.257, 0.257]}],
      "label": ["cat"]
     }
    }

A key is the dataset, a ``/``, and the file's path below the dataset's folder. ``class``
is what the dataset calls the animal, ``label`` what the classifier learns. ``bbox``, even
empty, means that people drew every box and no detector is asked; its numbers are
[left, top, width, height] in fractions of the image. ``location`` may be absent; a whole
number or an object is read as its text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import _names, _stream, layout
from classification.runtime import containment
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError, in_file
from detection.boxes import Box

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

FILENAME = "queried_images.json"

_RULE_BY_KEY = {
    "dataset": "the name of a dataset expected",
    "location": "a name expected",
    "class": "what the dataset calls the animal, a string, expected",
    "bbox": "a list of {category, bbox: 4 numbers in [0, 1]} expected",
    "label": "a list of labels expected",
}
_ANY_DATASET_KEY = b'"dataset"'
_ESCAPED_LETTER = b"\\u00"


class QueriedBox(msgspec.Struct, frozen=True, gc=False):
    """A box that a person drew.

    Attributes:
        category: name of its category, such as ``animal`` or ``group``.
        bbox: where.
    """

    category: str
    bbox: Box


class QueriedImage(msgspec.Struct, frozen=True, gc=False):
    """What is known of an image.

    Attributes:
        dataset: the source it is from.
        location: where the camera stood, or None.
        dataset_label: what the dataset calls the animal.
        boxes: every box, drawn by people; None if a detector is to find them.
        labels: what the classifier learns, normally one.
    """

    dataset: str
    dataset_label: str = msgspec.field(name="class")
    labels: tuple[str, ...] = msgspec.field(name="label")
    location: str | None = None
    boxes: tuple[QueriedBox, ...] | None = msgspec.field(name="bbox", default=None)


_TYPED = msgspec.json.Decoder(dict[str, QueriedImage])


class _Key:
    """A key that equals no other, so that an object's repeated keys are all kept."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


_EVERY_KEY = msgspec.json.Decoder(
    dict[_Key, msgspec.Raw], dec_hook=lambda _, text: _Key(text)
)


@dataclass(frozen=True)
class QueriedImagesFile:
    """A ``queried_images.json`` that was checked from end to end.

    Images are read from the file when they are asked for, a block at a time.

    Attributes:
        path: where it is.
        image_count: number of images.
    """

    path: Path
    image_count: int
    _blocks: Sequence[_stream.Block] = field(repr=False)
    _alike_hashes: frozenset[int] = field(repr=False)

    def alike(self) -> dict[str, str]:
        """Returns the images that a disk may take for an earlier one, each with that one.

        See ``containment.find_alike``.
        """
        if not self._alike_hashes:
            return {}
        names = (name for name, _ in self.images())
        return containment.find_alike(names, self._alike_hashes)

    def images(self) -> Iterator[tuple[str, QueriedImage]]:
        """Yields each image with its name, in file order; may be called again."""
        with in_file(self.path):
            try:
                with self.path.open("rb") as file:
                    for block in self._blocks:
                        yield from _decode(block.read(file)).items()
            except (OSError, msgspec.DecodeError) as error:
                raise ArtifactError("it was changed while it was read") from error


def open_file(
    path: Path, *, chunk_bytes: int = _stream.CHUNK_BYTES
) -> QueriedImagesFile:
    """Checks the file whole, and returns it ready to be read.

    Needs 8 bytes of memory per image, and a few MiB.

    Args:
        path: the file.
        chunk_bytes: how much to read at a time.

    Raises:
        ArtifactError: it is missing, truncated, no JSON, names an image twice, or breaks
            the format; with the address, such as ``ds/a.jpg.bbox``.
    """
    return _check_whole(path, _Survey(), chunk_bytes)


def read(
    path: Path, *, chunk_bytes: int = _stream.CHUNK_BYTES
) -> dict[str, QueriedImage]:
    """Checks the file and returns all of it by name, parsing it once instead of twice.

    For files that fit in memory; see ``open_file``, which raises the same.
    """
    kept: dict[str, QueriedImage] = {}
    _check_whole(path, _Survey(kept), chunk_bytes)
    return kept


def _check_whole(path: Path, survey: _Survey, chunk_bytes: int) -> QueriedImagesFile:
    with in_file(path):
        if path.exists() and not path.is_file():
            raise ArtifactError("not a plain file")
        try:
            with path.open("rb") as file:
                blocks = _stream.read_pairs(file, survey.take, chunk_bytes=chunk_bytes)
        except OSError as error:
            raise ArtifactError(f"cannot read: {error.strerror}") from error
        hashes = survey.seen.repeated_hashes()
        found = QueriedImagesFile(path, survey.image_count, blocks, hashes)
    _refuse_repeated(found, hashes)
    return found


class _Survey:
    """What is noted of the images while they pass by.

    Attributes:
        image_count: number of images so far.
        seen: their names, as ``containment.fold`` makes them.
    """

    def __init__(self, keep: dict[str, QueriedImage] | None = None) -> None:
        """Begins with no image; each that passes is put into ``keep``."""
        self.image_count = 0
        self.seen = _names.SeenNames()
        self._keep = keep

    def take(self, text: bytes, _: int) -> int:
        """Checks a block of images; returns how many there are."""
        images = _decode(text)
        _refuse_repeated_within(text, len(images))
        self.seen.add(containment.fold_all(list(images)))
        self.image_count += len(images)
        if self._keep is not None:
            self._keep.update(images)
        return len(images)


def _decode(text: bytes) -> dict[str, QueriedImage]:
    """Returns the checked images of a block."""
    try:
        images = _TYPED.decode(text)
    except msgspec.ValidationError:
        # A location that is no text, or something wrong that is to be explained.
        return from_dict(msgspec.json.decode(text))
    if not _is_sound(images):
        return from_dict(msgspec.json.decode(text))
    return images


def _is_sound(images: Mapping[str, QueriedImage]) -> bool:
    """Says in bulk what ``_to_image`` says of one image, after its types."""
    datasets = {image.dataset for image in images.values()}
    prefix_by_dataset = {name: f"{name}/" for name in datasets if "/" not in name}
    categories = {
        box.category for image in images.values() for box in image.boxes or ()
    }
    return (
        len(prefix_by_dataset) == len(datasets)
        and _names.find_unsafe(list(images)) is None
        and all(category.strip() for category in categories)
        and all(
            name.startswith(prefix_by_dataset[image.dataset])
            for name, image in images.items()
        )
    )


def _refuse_repeated_within(text: bytes, name_count: int) -> None:
    """Refuses a block that names an image twice, of which the decoder keeps one."""
    # Each image has the key, so that there are at most so many images.
    if text.count(_ANY_DATASET_KEY) == name_count and _ESCAPED_LETTER not in text:
        return
    seen = set()
    for key in _EVERY_KEY.decode(text):
        if key.text in seen:
            raise ArtifactError("key appears twice", where=key.text)
        seen.add(key.text)


def _refuse_repeated(file: QueriedImagesFile, hashes: frozenset[int]) -> None:
    if not hashes:
        return
    seen = set()
    for name, _ in file.images():
        if hash(containment.fold(name)) in hashes:
            if name in seen:
                raise ArtifactError("key appears twice", where=f"{file.path}: {name}")
            seen.add(name)


def from_dict(document: Mapping[str, Any]) -> dict[str, QueriedImage]:
    """Returns what is known of each image, by its name, in file order.

    Raises:
        ArtifactError: a name or a value is not as the format says.
    """
    return {name: _to_image(name, value) for name, value in document.items()}


def _to_image(name: str, value: Any) -> QueriedImage:  # noqa: ANN401 - checked here
    layout.checked_name(name, where=name)
    if not isinstance(value, dict):
        raise ArtifactError("an object expected", where=name)
    location = value.get("location")
    if isinstance(location, int | dict) and not isinstance(location, bool):
        value = {**value, "location": _to_text(location)}
    try:
        image = msgspec.convert(value, QueriedImage)
    except msgspec.ValidationError as error:
        raise _explain(name, value, error) from error
    if not name.startswith(f"{image.dataset}/") or "/" in image.dataset:
        raise ArtifactError(
            f"the name does not begin with its dataset, {image.dataset!r}", where=name
        )
    for index, box in enumerate(image.boxes or ()):
        if not box.category.strip():
            raise ArtifactError(
                "a name expected", where=f"{name}.bbox[{index}].category"
            )
    return image


def _to_text(location: int | dict[str, Any]) -> str:
    if isinstance(location, int):
        return str(location)
    return json.dumps(location, sort_keys=True, ensure_ascii=False)


def _explain(
    name: str, value: Mapping[str, Any], error: msgspec.ValidationError
) -> ArtifactError:
    """Says which key of an image is wrong."""
    for key, rule in _RULE_BY_KEY.items():
        kept = {"dataset": "x", "class": "x", "label": []}
        if key in value:
            kept[key] = value[key]
        elif key in kept:
            return ArtifactError(rule, where=f"{name}.{key}")
        try:
            msgspec.convert(kept, QueriedImage)
        except msgspec.ValidationError:
            return ArtifactError(rule, where=f"{name}.{key}")
    return ArtifactError(str(error), where=name)


def write(
    path: Path,
    images: Mapping[str, QueriedImage] | Iterable[tuple[str, QueriedImage]],
    *,
    indent: int | None = None,
) -> int:
    """Writes what is known of each image, streaming.

    Args:
        path: the file; it appears whole or not at all.
        images: by name, in any order; or pairs sorted by name, each name once.
        indent: spaces a level is indented by, or None for one line.

    Returns:
        The number of images.

    Raises:
        ValueError: pairs are not sorted by name, or a box holds no finite number.
    """
    pairs = _sorted_pairs(images) if isinstance(images, Mapping) else images
    form = _Form(indent)
    last, count = "", 0
    with replacing(path) as file:
        file.write(b"{")
        for name, image in pairs:
            if count and name <= last:
                raise ValueError(f"{name!r} comes after {last!r}")
            text = (
                f"{form.before(1, first=not count)}{_quote(name)}: {form.image(image)}"
            )
            # A name that is no text keeps its bytes, as JSON's escapes.
            file.write(text.encode(errors="backslashreplace"))
            last, count = name, count + 1
        file.write(form.before(0, first=True).encode() if count else b"")
        file.write(b"}\n")
    return count


def _sorted_pairs(
    images: Mapping[str, QueriedImage],
) -> Iterator[tuple[str, QueriedImage]]:
    for name in sorted(images):
        yield name, images[name]


_quote = json.JSONEncoder(ensure_ascii=False).encode


class _Form:
    """Lays values out as JSON, byte for byte as the standard library does."""

    def __init__(self, indent: int | None) -> None:
        """Begins a document.

        Args:
            indent: spaces a level is indented by, or None for one line.
        """
        levels = range(6)
        self._comma = ", " if indent is None else ","
        self._breaks = [
            "" if indent is None else "\n" + " " * indent * n for n in levels
        ]

    def before(self, level: int, *, first: bool) -> str:
        """Returns what stands between a value and the value, or bracket, before it."""
        return ("" if first else self._comma) + self._breaks[level]

    def image(self, image: QueriedImage) -> str:
        """Returns an image: keys in their order, none for what is not known."""
        parts = [f'"dataset": {_quote(image.dataset)}']
        if image.location is not None:
            parts.append(f'"location": {_quote(image.location)}')
        parts.append(f'"class": {_quote(image.dataset_label)}')
        if image.boxes is not None:
            boxes = [self._box(box) for box in image.boxes]
            parts.append(f'"bbox": {self._wrap("[]", boxes, 2)}')
        labels = self._wrap("[]", [_quote(label) for label in image.labels], 2)
        parts.append(f'"label": {labels}')
        return self._wrap("{}", parts, 1)

    def _box(self, box: QueriedBox) -> str:
        edges = msgspec.structs.astuple(box.bbox)
        if not all(map(math.isfinite, edges)):
            raise ValueError(f"{box} holds no finite number")
        numbers = self._wrap("[]", [repr(edge) for edge in edges], 4)
        parts = [f'"category": {_quote(box.category)}', f'"bbox": {numbers}']
        return self._wrap("{}", parts, 3)

    def _wrap(self, brackets: str, parts: Sequence[str], level: int) -> str:
        """Puts brackets, which stand at ``level``, around values that are laid out."""
        if not parts:
            return brackets
        inner = self._breaks[level + 1]
        joined = f"{self._comma}{inner}".join(parts)
        return f"{brackets[0]}{inner}{joined}{self._breaks[level]}{brackets[1]}"
