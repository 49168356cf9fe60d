"""A list of images to fetch, and the names to save them under: JSON.

Written by people, and by other tools that asked a database; read by
``download_images json``::

    [
     {
      "dataset": "wcs",
      "file": "animals/0467/0962.jpg",
      "download_id": "wcs+8a066ce6-3f14-11ea-aae7-9801a7a664ab",
      "new_entry": true
     }
    ]

``file`` is the image's path below the dataset's path prefix. An entry without ``dataset``
has the image's full name in ``file``: the dataset, the path prefix and the path. What the
image is to be called stands under a key of the reader's choice, mostly ``download_id``; it
gets the ending of ``file`` where it has another, and stays inside its folder.
``new_entry``, true or not, marks what was not there before. All other keys are passed
over. The list may stand under a key of an object, as ``images`` of a detections JSON does.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from classification.artifacts import _json, layout
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAVE_KEY = "download_id"
_FILE = "file"


class ImageEntry(NamedTuple):
    """An image to fetch.

    Attributes:
        file: its path below the path prefix, or its full name where ``dataset`` is empty.
        dataset: the source it is from, or empty.
        save_as: name of the file to write, relative to a folder.
        is_new: whether it is marked so.
    """

    file: str
    dataset: str
    save_as: str
    is_new: bool


def read(
    path: Path, *, save_key: str = SAVE_KEY, key: str | None = None
) -> Iterator[ImageEntry]:
    """Yields the entries in file order, once all were parsed.

    Args:
        path: the file.
        save_key: key of the name to save an image under.
        key: of the list, where it stands in an object; None where it is all.

    Raises:
        ArtifactError: the file is missing or no such list, or a name leads out of its
            folder; with the address, such as ``images[3].file``.
    """
    with in_file(path):
        for index, entry in enumerate(_parse(_json.read_bytes(path), save_key, key)):
            where = f"{key or ''}[{index}]"
            file = layout.checked_name(entry.file, where=f"{where}.{_FILE}")
            named = file if save_key == _FILE else entry.save_as
            save_as = layout.checked_name(
                _with_ending(named, file), where=f"{where}.{save_key}"
            )
            yield ImageEntry(file, entry.dataset or "", save_as, bool(entry.new_entry))


def _parse(data: bytes, save_key: str, key: str | None) -> Any:  # noqa: ANN401 - a list of a type that is made here
    fields: list[Any] = [
        (_FILE, str),
        ("dataset", str | None, None),
        ("new_entry", bool | None, None),
    ]
    if save_key in {"dataset", "new_entry"}:
        raise ArtifactError(f"{save_key} is no name to save an image under")
    if save_key != _FILE:
        fields.append(("save_as", str, msgspec.field(name=save_key)))
    expected: Any = list[msgspec.defstruct("Entry", fields, kw_only=True)]  # type: ignore[misc]  # made of keys that the user names
    if key is not None:
        expected = msgspec.defstruct(
            "Document", [("found", expected, msgspec.field(name=key))]
        )
    try:
        found = msgspec.json.decode(data, type=expected)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise ArtifactError(message, where=where.rstrip("`").lstrip(".")) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"not JSON: {error}") from error
    return found if key is None else found.found


def _with_ending(name: str, file: str) -> str:
    ending = PurePosixPath(file).suffix
    return name if name.endswith(ending) else name + ending
