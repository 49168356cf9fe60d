"""``megadb_mislabeled/<dataset>.csv``: images of a dataset whose label is wrong.

Written by ``save_mislabeled`` and by people; read by ``json_validator``::

    file,correct_class
    cct_images/a.jpg,bobcat
    cct_images/b.jpg,

``file`` is an image's name without its dataset, but with the path prefix, if the dataset
has one; sorted, each once. ``correct_class`` is what the dataset should call it; empty
means that the label is known to be wrong and nobody knows the right one. A dataset
without such images has no file. The file's name and the dataset's are compared without
regard to case.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from classification.artifacts import _csv, layout
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError, in_file
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER = "megadb_mislabeled"
SUFFIX = ".csv"
COLUMNS = ("file", "correct_class")


def paths(folder: Path) -> dict[str, Path]:
    """Returns the file of each dataset that has one, by ``normal`` name, sorted.

    Raises:
        ArtifactError: the folder cannot be listed, or two names differ in case only.
    """
    found: dict[str, Path] = {}
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except OSError as error:
        raise ArtifactError(
            f"cannot list: {error.strerror}", where=str(folder)
        ) from error
    for path in files:
        other = found.setdefault(normal(path.stem), path)
        if other != path:
            raise ArtifactError(
                f"means the same dataset as {other.name}", where=str(path)
            )
    return found


def path_of(folder: Path, dataset: str) -> Path:
    """Returns where the wrong labels of a dataset without a file go.

    Raises:
        ArtifactError: its name would lead elsewhere.
    """
    return folder / f"{layout.checked_dataset(dataset)}{SUFFIX}"


def read(path: Path) -> dict[str, str]:
    """Returns the right class of each file, empty where nobody knows, in file order.

    Raises:
        ArtifactError: it is no such table, or names an image twice.
    """
    class_by_file: dict[str, str] = {}
    with in_file(path):
        for row in _csv.read(path, columns=COLUMNS):
            where = row.where("file")
            file = layout.checked_name(row.cells["file"], where=where)
            if file in class_by_file:
                raise ArtifactError(f"{file!r} stands twice", where=where)
            class_by_file[file] = row.cells["correct_class"]
    return class_by_file


def write(path: Path, class_by_file: Mapping[str, str]) -> None:
    """Writes the right class of each file, sorted by file."""
    text = io.StringIO()
    table = _csv.writer(text)
    table.writerow(COLUMNS)
    table.writerows(sorted(class_by_file.items()))
    with replacing(path) as file:
        file.write(text.getvalue().encode())
