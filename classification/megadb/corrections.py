"""Corrections of wrong labels, brought to the names of a metadata store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import mislabeled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from classification.megadb.reading import MetadataStore


def read_corrections(
    store: MetadataStore, folder: Path
) -> dict[str, Mapping[str, str]]:
    """Reads the corrections of a store's datasets.

    Args:
        store: whose images are meant; its names and the folder's are compared
            without regard to case.
        folder: one file a dataset.

    Returns:
        For each dataset that has corrections, the right class of each file, as the
        dataset's table names it; a file that the table cannot name keeps its name.

    Raises:
        ArtifactError: a file breaks its format.
    """
    class_by_dataset: dict[str, Mapping[str, str]] = {}
    for dataset, path in mislabeled.paths(folder).items():
        number = store.number_of(dataset)
        if number is not None:
            name = store.datasets[number]
            prefix = store.entries[name].path_prefix
            class_by_dataset[name] = _below(prefix, mislabeled.read(path))
    return class_by_dataset


def _below(prefix: str, class_by_file: Mapping[str, str]) -> Mapping[str, str]:
    if not prefix:
        return class_by_file
    start = f"{prefix}/"
    return {
        # A table's files are relative, so one with the slash is none of them.
        file.removeprefix(start) if file.startswith(start) else f"/{file}": right
        for file, right in class_by_file.items()
    }
