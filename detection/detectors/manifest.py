"""What an ONNX detector says of itself in its metadata.

Files that we convert carry these properties, and whoever exports a model of their own
may set them, too::

    cameratraps.head            yolox-raw
    cameratraps.categories      {"1": "animal"}
    cameratraps.image_size_px   640
    cameratraps.channels        RGB
    cameratraps.fill            0

Exports of ultralytics and YOLOv5 carry ``names``, ``imgsz`` and ``stride``, which are
read, too. What a file does not say is told from the shape of its output, or asked for.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.runtime.errors import ModelError
from detection.detectors.heads import Head

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "cameratraps."
_MOST_DIGITS = 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """Facts about a model; None where it does not tell.

    Attributes:
        head: layout of its output.
        categories: name by category id.
        image_size_px: longer side of its input.
        stride_px: sides of its input are multiples of this.
        channels: ``RGB`` or ``BGR``.
        fill: value of the pixels around the image, 0 to 255.
    """

    head: Head | None = None
    categories: Mapping[str, str] | None = None
    image_size_px: int | None = None
    stride_px: int | None = None
    channels: str | None = None
    fill: int | None = None

    def to_properties(self) -> dict[str, str]:
        """Returns the properties to put into an ONNX file; ``read`` is the inverse."""
        facts = {
            "head": self.head and self.head.value,
            "categories": self.categories and json.dumps(dict(self.categories)),
            "image_size_px": self.image_size_px,
            "stride_px": self.stride_px,
            "channels": self.channels,
            "fill": self.fill,
        }
        return {
            _PREFIX + key: str(value)
            for key, value in facts.items()
            if value is not None
        }


NOTHING_TOLD = Manifest()


def read(properties: Mapping[str, str]) -> Manifest:
    """Reads the properties of an ONNX file, ours or those of ultralytics.

    Raises:
        ModelError: a property has a value that makes no sense.
    """
    head = properties.get(_PREFIX + "head")
    categories = properties.get(_PREFIX + "categories")
    return Manifest(
        head=None if head is None else Head.parse(head),
        categories=(
            _names(properties.get("names"))
            if categories is None
            else _categories(categories)
        ),
        image_size_px=_number(properties, _PREFIX + "image_size_px")
        or _longer_side(properties.get("imgsz")),
        stride_px=_number(properties, _PREFIX + "stride_px")
        or _number(properties, "stride"),
        channels=_channels(properties.get(_PREFIX + "channels")),
        fill=_number(properties, _PREFIX + "fill"),
    )


def _categories(text: str) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(
        isinstance(name, str) for name in found.values()
    ):
        raise ModelError(
            f"{_PREFIX}categories: an object of names by category id expected"
        )
    return found


def _names(text: str | None) -> dict[str, str] | None:
    """Reads ultralytics' ``{0: 'animal', …}``; our ids count from 1."""
    found = _literal(text)
    if isinstance(found, list):
        found = dict(enumerate(found))
    if not isinstance(found, dict) or not all(isinstance(key, int) for key in found):
        return None
    return {str(key + 1): str(name) for key, name in sorted(found.items())}


def _longer_side(text: str | None) -> int | None:
    found = _literal(text)
    sides = found if isinstance(found, list) else [found]
    numbers = [side for side in sides if isinstance(side, int)]
    return max(numbers) if numbers else None


def _literal(text: str | None) -> object:
    try:
        return None if text is None else ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _number(properties: Mapping[str, str], key: str) -> int | None:
    text = properties.get(key)
    if text is None:
        return None
    if not text.strip().isdecimal() or len(text) > _MOST_DIGITS:
        raise ModelError(f"{key}: a whole number expected, not {text!r}")
    return int(text)


def _channels(text: str | None) -> str | None:
    if text not in {None, "RGB", "BGR"}:
        raise ModelError(f"{_PREFIX}channels: RGB or BGR expected, not {text!r}")
    return text
