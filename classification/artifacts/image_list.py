"""A list of images to work on: ``.txt``, one name a line, or ``.json``, a list of names.

Written by people and by other tools; read by ``run_detector_batch``::

    /media/card1/IMG_0001.JPG
    /media/card1/IMG_0002.JPG

    ["/media/card1/IMG_0001.JPG", "/media/card1/IMG_0002.JPG"]

A name is a path as a person would type it: absolute, or relative to the folder the
command runs in, not to the list's own. Spaces around a line of the text form, and
empty lines, do not count.

``download_images txt`` reads the text form, whatever the file is called, and
``analyze_failed_images`` either, told by what is in it; there a name is the image's below
its folder or address, in training ``<dataset>/<path>``. ``json_to_azcopy_list`` writes
``<dataset>_images.txt``, in which names begin below the dataset's container, and
``detect_and_crop --batch-api`` a ``task_list_<dataset>_<digest>.chunkNNN.json`` for each
task, in which they begin below the dataset's folder.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from classification.artifacts import _json, layout
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

EXTENSIONS = frozenset({".txt", ".json"})

_OPENS_JSON = re.compile(rb"(\xef\xbb\xbf)?\s*[\[{]")


def is_list_name(name: str) -> bool:
    """Says whether ``name`` ends as a list of images does, in any case."""
    return name.lower().endswith(tuple(EXTENSIONS))


def read(path: Path) -> list[str]:
    """Reads a list of images, in its own order; a name may stand in it twice.

    Raises:
        ArtifactError: it is missing, no list of names, or empty.
    """
    with in_file(path):
        data = _json.read_bytes(path)
        names = _from_json(data) if path.suffix.lower() == ".json" else _lines(data)
        if not names:
            raise ArtifactError("the list is empty")
        return names


def read_text(path: Path) -> list[str]:
    """Reads the text form, whatever the file is called; its names stay inside a folder.

    Raises:
        ArtifactError: it is missing or empty, or a name leads out of whatever folder it
            is joined to.
    """
    with in_file(path):
        lines = _numbered_lines(_json.read_bytes(path))
        if not lines:
            raise ArtifactError("the list is empty")
        return [layout.checked_name(name, where=where) for where, name in lines]


def read_any(path: Path, keys: Sequence[str] = ()) -> list[str]:
    """Reads either form, told by what is in the file; a list may be empty.

    Args:
        path: the file.
        keys: of a JSON object, such as a step's log, that hold lists of names; these are
            put together.

    Raises:
        ArtifactError: it is missing or no such list, or has no such key.
    """
    with in_file(path):
        data = _json.read_bytes(path)
        # The first name of a text may begin with a bracket; call it .txt then.
        is_text = path.suffix.lower() == ".txt" or not _OPENS_JSON.match(data)
        if is_text and not keys:
            return _lines(data)
        document = _json.parse(data)
        if not isinstance(document, dict) and not keys:
            return _from_json(data)
        return [name for key in keys or [""] for name in _under(key, document)]


def _under(key: str, document: object) -> list[str]:
    if not isinstance(document, dict):
        raise ArtifactError(f"expected an object with the key {key}")
    if not isinstance(document.get(key), list):
        known = ", ".join(k for k, value in document.items() if isinstance(value, list))
        raise ArtifactError(
            f"no list is under the key {key!r}; lists are under: {known or 'none'}"
        )
    pairs = enumerate(document[key])
    return _checked((f"{key}[{index}]", name) for index, name in pairs)


def find_unwritable(names: Iterable[str]) -> list[str]:
    """Returns the names that the text form cannot hold: of several lines, or spaced."""
    return [name for name in names if name != name.strip() or "\n" in name]


def write_text(path: Path, names: Iterable[str]) -> None:
    """Writes the text form, names in the order given.

    Raises:
        ValueError: a name is one of those that ``find_unwritable`` tells.
    """
    with replacing(path) as file:
        for name in names:
            if find_unwritable([name]):
                raise ValueError(f"{name!r} does not fit on a line")
            file.write(name.encode(errors="surrogateescape") + b"\n")


def write_json(path: Path, names: Iterable[str]) -> None:
    """Writes the JSON form, names in the order given."""
    with replacing(path) as file:
        text = json.dumps(list(names), indent=1, ensure_ascii=False)
        file.write(text.encode(errors="backslashreplace") + b"\n")


def _lines(data: bytes) -> list[str]:
    return [name for _, name in _numbered_lines(data)]


def _numbered_lines(data: bytes) -> list[tuple[str, str]]:
    """Returns the address and the name of each line that holds one."""
    # A name that is not UTF-8 stays openable: it decodes as the file system's do.
    text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    stripped = ((n, line.strip()) for n, line in enumerate(text.split("\n"), start=1))
    lines = [(f"line {number}", name) for number, name in stripped if name]
    return [(where, _check(where, name)) for where, name in lines]


def _from_json(data: bytes) -> list[str]:
    document = _json.parse(data)
    if not isinstance(document, list):
        raise ArtifactError("expected a list of file names at the top level")
    return _checked((f"[{index}]", name) for index, name in enumerate(document))


def _checked(names: Iterable[tuple[str, object]]) -> list[str]:
    return [_check(where, name) for where, name in names]


def _check(where: str, name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ArtifactError("expected the name of a file", where=where)
    if "\0" in name:
        raise ArtifactError(f"{name!r} holds a NUL", where=where)
    return name
