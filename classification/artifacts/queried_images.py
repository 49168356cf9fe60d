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
from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import _json, layout
from classification.runtime.errors import ArtifactError, in_file
from detection.boxes import Box

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILENAME = "queried_images.json"

_RULE_BY_KEY = {
    "dataset": "the name of a dataset expected",
    "location": "a name expected",
    "class": "what the dataset calls the animal, a string, expected",
    "bbox": "a list of {category, bbox: 4 numbers in [0, 1]} expected",
    "label": "a list of labels expected",
}


class QueriedBox(msgspec.Struct, frozen=True):
    """A box that a person drew.

    Attributes:
        category: name of its category, such as ``animal`` or ``group``.
        bbox: where.
    """

    category: str
    bbox: Box


class QueriedImage(msgspec.Struct, frozen=True, omit_defaults=True):
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


def to_dict(image_by_name: Mapping[str, QueriedImage]) -> dict[str, Any]:
    """Returns the document to write: names sorted, keys in the order shown above."""
    return {name: _to_value(image_by_name[name]) for name in sorted(image_by_name)}


def _to_value(image: QueriedImage) -> dict[str, Any]:
    value: dict[str, Any] = {"dataset": image.dataset}
    if image.location is not None:
        value["location"] = image.location
    value["class"] = image.dataset_label
    if image.boxes is not None:
        value["bbox"] = msgspec.to_builtins(image.boxes)
    value["label"] = list(image.labels)
    return value


def read(path: Path) -> dict[str, QueriedImage]:
    """Reads and checks what is known of each image, by its name."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def write(
    path: Path, image_by_name: Mapping[str, QueriedImage], *, indent: int | None = None
) -> None:
    """Writes what is known of each image; on one line where ``indent`` is None."""
    _json.write_object(path, to_dict(image_by_name), indent=indent)
