"""Labelled folders: the names of an image's folders say what it shows and where.

The layout names the folders from the top, such as ``location/label`` for
``ridge_7/elk/IMG_0001.JPG``. Its words are ``location``, ``label``, ``sequence`` and
``*`` for a folder that means nothing. Folders below the last word mean nothing either.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from classification.artifacts.layout import is_image_name
from classification.megadb import staging as tables
from classification.runtime.errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from classification.megadb.staging import Staging

DEFAULT_LAYOUT = "label"
WORDS = ("location", "label", "sequence", "*")
_ROWS = 50_000


def parse_layout(text: str) -> tuple[str, ...]:
    """Reads a layout such as ``location/label``; raises ValueError where it is none."""
    words = tuple(text.strip("/").split("/"))
    named = [word for word in words if word != "*"]
    if not set(words) <= set(WORDS) or len(set(named)) < len(named):
        raise ValueError(
            f"{text!r} is not a layout of folders; words are {', '.join(WORDS)}, each "
            "but * at most once, such as location/label"
        )
    if "label" not in named:
        raise ValueError(f"{text!r} names no folder as the label")
    return words


def read(source: Path, staging: Staging, layout: Sequence[str]) -> None:
    """Stages every image below a folder, with what its folders say of it.

    An image that lies above the folder of its label has no label.

    Args:
        source: the folder that the images' names start from.
        staging: filled.
        layout: what the folders mean, from the top; see ``parse_layout``.

    Raises:
        ConfigurationError: ``source`` is no folder, or holds no image.
        StorageError: a folder cannot be listed.
    """
    if not source.is_dir():
        raise ConfigurationError(f"no such folder: {source}")
    rows: list[dict[str, object]] = []
    count = 0
    for file in _walk(str(source)):
        rows.append(_row(count, file, layout))
        count += 1
        if len(rows) == _ROWS:
            _add(staging, rows)
            rows = []
    if not count:
        raise ConfigurationError(f"no images in {source} or its folders")
    _add(staging, rows)


def _row(number: int, file: str, layout: Sequence[str]) -> dict[str, object]:
    folders = file.split("/")[:-1]
    said = dict(zip(layout, folders, strict=False))
    return {
        "row": number,
        "id": file,
        "file": file,
        "location": said.get("location"),
        "sequence": said.get("sequence"),
        "label": said.get("label"),
    }


def _add(staging: Staging, rows: Sequence[dict[str, object]]) -> None:
    import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

    if not rows:
        return
    text = ("id", "file", "location", "sequence", "label")
    schema = pa.schema([("row", pa.int64()), *((name, pa.string()) for name in text)])
    table = pa.Table.from_pylist(list(rows), schema)
    staging.add(tables.IMAGES, table.drop_columns(["label"]))
    labels = table.select(["row", "id", "label"]).rename_columns(
        ["row", "image_id", "label"]
    )
    labels = labels.filter(labels["label"].is_valid())
    level = pa.array([tables.IMAGE_LEVEL] * len(labels), pa.string())
    staging.add(tables.LABELS, labels.append_column("level", level))


def _walk(root: str, below: str = "") -> Iterator[str]:
    """Yields the images below a folder by name; links to folders are not followed."""
    waiting = [below]
    while waiting:
        folder = waiting.pop()
        entries = _list(os.path.join(root, folder))  # noqa: PTH118 - a Path per image costs more than the listing
        waiting += [
            f"{folder}{name}/" for name, is_folder in entries[::-1] if is_folder
        ]
        yield from (
            folder + name
            for name, is_folder in entries
            if not is_folder and is_image_name(name)
        )


def _list(folder: str) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as found:
            return sorted(
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in found
                if not entry.name.startswith(".")
            )
    except OSError as error:
        raise StorageError(f"cannot list {folder}: {error.strerror}") from error
