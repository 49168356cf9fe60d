"""``mislabeled_candidates_<split>_<dataset>.txt``: images of a dataset that may be labelled wrong.

Written by ``identify_mislabeled_candidates``, one for each split and dataset, empty where
there are none; for ``download_images`` and people::

    a/b.JPG
    c.jpg

The names of the images, not of their crops, one a line, sorted, each once. They begin with
the dataset only where that was asked for (``--include-dataset-in-filename``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import image_list, layout
from classification.runtime.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def path_of(folder: Path, split: str, dataset: str) -> Path:
    """Returns where the images of a split and dataset are listed.

    Raises:
        ArtifactError: the dataset's name leads out of the folder.
    """
    layout.checked_dataset(dataset, where=str(folder))
    return folder / f"mislabeled_candidates_{split}_{dataset}.txt"


def read(path: Path) -> list[str]:
    """Reads the names, in file order.

    Raises:
        ArtifactError: it is missing, no list of names, or empty.
    """
    return image_list.read(path)


def is_line(name: str) -> bool:
    """Says whether a name can stand in such a list: it holds no line break."""
    return "\n" not in name and "\r" not in name


def write(path: Path, names: Iterable[str]) -> None:
    """Writes the names sorted, each once."""
    with replacing(path) as file:
        for name in sorted(set(names)):
            file.write(name.encode(errors="surrogateescape") + b"\n")
