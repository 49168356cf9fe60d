"""A list of images to work on: ``.txt``, one name a line, or ``.json``, a list of names.

Written by people and by other tools; read by ``run_detector_batch``::

    /media/card1/IMG_0001.JPG
    /media/card1/IMG_0002.JPG

    ["/media/card1/IMG_0001.JPG", "/media/card1/IMG_0002.JPG"]

A name is a path as a person would type it: absolute, or relative to the folder the
command runs in, not to the list's own. Spaces around a line of the text form, and
empty lines, do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import _json
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EXTENSIONS = frozenset({".txt", ".json"})


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


def _lines(data: bytes) -> list[str]:
    # A name that is not UTF-8 stays openable: it decodes as the file system's do.
    text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    stripped = ((n, line.strip()) for n, line in enumerate(text.split("\n"), start=1))
    return _checked((f"line {number}", name) for number, name in stripped if name)


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
