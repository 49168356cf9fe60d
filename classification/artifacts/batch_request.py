"""Body of ``POST /request_detections``: which images a detection service is to look at.

Sent by ``detect_and_crop --batch-api`` and by other clients of the Batch Detection API;
read by ``batch_service``, which never writes it to a file that others may read::

    {
     "request_name": "detect_for_classifier_caltech_5f0c21aa_task00",
     "caller": "jane",
     "model_version": "5a.0.0",
     "images_dir": "/data/caltech",
     "images": ["cct_images/a.jpg", "cct_images/b.jpg"]
    }

=========================  ============================================================
key                        what it says
=========================  ============================================================
request_name               at most 92 of the characters [-_A-Za-z0-9]; may be absent
caller                     who asks; may be absent
model_version              the version of the detector that is expected; may be absent
input_container_sas        address below which the images are; may hold a token
images_dir                 the same, or a folder of the service's machine
images_requested_json_sas  address of a JSON list of images; may hold a token
images                     the list itself, at most 1,000,000 images
threshold                  least confidence of a box, in [0, 1]; the service's by default
=========================  ============================================================

The first three, ``input_container_sas`` and ``images_requested_json_sas`` are the
original's; the others are ours. With a folder or an address, images are named below it,
and the results name them so. Without, each is an absolute path or a whole address, which
the results show without its query. A folder or a container of Azure without a list means
all images in it and its folders. Further keys, and keys that hold null, do not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import msgspec

from classification.artifacts import _json
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_IMAGES = 1_000_000
LONGEST_NAME = 92

_NAME = re.compile(rf"[-_A-Za-z0-9]{{0,{LONGEST_NAME}}}")
_LONGEST_TEXT = 4096
_PLACES = ("images_dir", "input_container_sas")
_IMAGES, _LIST = "images", "images_requested_json_sas"


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """What a service is asked for.

    Attributes:
        name: of the request; may be empty.
        caller: who asks; may be empty.
        model_version: the detector that is expected; empty for whichever there is.
        place: folder or address that images are named below; empty where each image is
            a path or an address of its own. Never to be shown.
        images: the images; empty where they are in a list elsewhere, or are all of a
            folder. Never to be shown.
        list_url: address of the list; may be empty. Never to be shown.
        threshold: least confidence of a box; None for the service's own.
    """

    name: str = ""
    caller: str = ""
    model_version: str = ""
    place: str = field(default="", repr=False)
    images: Sequence[str] = field(default=(), repr=False)
    list_url: str = field(default="", repr=False)
    threshold: float | None = None

    def with_images(self, images: Sequence[str]) -> Self:
        """Returns the request with its images listed in it."""
        return replace(self, images=images, list_url="")

    def encode(self) -> bytes:
        """Returns the JSON text of it, the same for the same request."""
        said = {
            "request_name": self.name,
            "caller": self.caller,
            "model_version": self.model_version,
            _place_key(self.place): self.place,
            _IMAGES: list(self.images),
            _LIST: self.list_url,
            "threshold": self.threshold,
        }
        kept = {
            key: value for key, value in said.items() if value not in ("", [], None)
        }
        return msgspec.json.encode(kept)


def _place_key(place: str) -> str:
    own, original = _PLACES
    return original if place.casefold().startswith(("http:", "https:")) else own


def parse(body: bytes) -> BatchRequest:
    """Reads the body of a request.

    Raises:
        ArtifactError: it breaks the format; the text repeats nothing that may be a token.
    """
    document = _json.parse(body)
    if not isinstance(document, dict):
        raise ArtifactError("expected an object at the top level")
    return from_dict(document)


def from_dict(document: Mapping[str, Any]) -> BatchRequest:
    """Checks what a request says.

    Raises:
        ArtifactError: it breaks the format.
    """
    request = BatchRequest(
        name=_text(document, "request_name"),
        caller=_text(document, "caller"),
        model_version=_text(document, "model_version"),
        place=_one_of(document, *_PLACES),
        images=_images(document),
        list_url=_text(document, _LIST),
        threshold=_threshold(document),
    )
    if not _NAME.fullmatch(request.name):
        rule = f"at most {LONGEST_NAME} of the characters [-_A-Za-z0-9] expected"
        raise ArtifactError(rule, where="request_name")
    if request.images and request.list_url:
        raise ArtifactError(f"stands beside {_IMAGES}; give one of them", where=_LIST)
    if not (request.place or request.images or request.list_url):
        raise ArtifactError(
            f"names no images; give {_IMAGES}, {_PLACES[0]}, {_PLACES[1]} or {_LIST}"
        )
    return request


def _one_of(document: Mapping[str, Any], own: str, original: str) -> str:
    texts = (_text(document, own), _text(document, original))
    if all(texts):
        raise ArtifactError(f"stands beside {own}; give one of them", where=original)
    return "".join(texts)


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    return "" if value is None else _checked_text(value, key, _LONGEST_TEXT)


def _checked_text(value: object, where: str, longest: int) -> str:
    """Returns what can be a path or an address."""
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        rule = f"a text of at most {longest} characters, without NUL, expected"
        raise ArtifactError(rule, where=where)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ArtifactError("half of a character", where=where) from error
    return value


def _images(document: Mapping[str, Any]) -> Sequence[str]:
    images = document.get(_IMAGES)
    if images is None:
        return ()
    if not isinstance(images, list) or not 0 < len(images) <= MOST_IMAGES:
        rule = f"a list of 1 to {MOST_IMAGES} images expected"
        raise ArtifactError(rule, where=_IMAGES)
    for index, image in enumerate(images):
        if not _checked_text(image, f"{_IMAGES}[{index}]", _LONGEST_TEXT):
            raise ArtifactError("an empty text", where=f"{_IMAGES}[{index}]")
    return images


def _threshold(document: Mapping[str, Any]) -> float | None:
    value = document.get("threshold")
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise ArtifactError("a number in [0, 1] expected", where="threshold")
    return float(value)
