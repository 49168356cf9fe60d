"""A metadata store as a whole: who may write it, which datasets it holds."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from classification.artifacts import dataset_list, image_table
from classification.megadb.reading import MetadataStore
from classification.runtime import containment, locking
from classification.runtime.errors import ConfigurationError
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from classification.artifacts.dataset_list import DatasetEntry

_LOCK = ".ct-import.lock"
# What ``runtime.atomic`` leaves when it is killed.
_HALF_WRITTEN = ".ct-*.tmp"


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset of a store holds.

    Attributes:
        dataset: its name.
        images: all of them.
        labelled: images with a label.
        boxed: images whose boxes are all drawn.
        labels: different labels.
        locations: different locations.
        location_from: how a location was made.
        source: where the images are: a folder, a URL, or empty.
    """

    dataset: str
    images: int
    labelled: int
    boxed: int
    labels: int
    locations: int
    location_from: str
    source: str


@contextmanager
def hold(megadb: Path) -> Iterator[None]:
    """Keeps other imports out of a store, and removes what a killed one left.

    Raises:
        StorageError: another import is at work, or the folder cannot be written.
    """
    lock = megadb / _LOCK
    busy = f"another import is writing {megadb}; wait for it to end"
    with locking.held(lock, busy=busy):
        for path in megadb.glob(_HALF_WRITTEN):
            path.unlink(missing_ok=True)
        yield


def read_entries(megadb: Path) -> dict[str, DatasetEntry]:
    """Returns the datasets of a store by name; none where there is no store yet.

    Raises:
        ArtifactError: the list of datasets breaks its format.
    """
    if not (megadb / dataset_list.FILENAME).exists():
        return {}
    return dataset_list.read(megadb)


def check_name(megadb: Path, dataset: str) -> None:
    """Makes sure that a dataset may be put into a store under a name.

    Raises:
        ArtifactError: the name leads out of the store.
        ConfigurationError: the store has such a dataset in another case.
    """
    image_table.path_of(megadb, dataset)
    for known in read_entries(megadb):
        same = containment.fold(normal(known)) == containment.fold(normal(dataset))
        if known != dataset and same:
            raise ConfigurationError(
                f"{megadb} holds a dataset {known!r}, and names are compared without "
                f"case; import it as {known!r}, or choose another name"
            )


def put(megadb: Path, dataset: str, entry: DatasetEntry) -> None:
    """Adds a dataset to the list of a store that this run holds, or replaces it."""
    dataset_list.write(megadb, {**read_entries(megadb), dataset: entry})


def summarize(megadb: Path) -> list[Summary]:
    """Returns what each dataset of a store holds, by name.

    Raises:
        ArtifactError: there is no store, or a table of it is missing or damaged.
    """
    # Whoever may only read the store can ask what is in it.
    with MetadataStore.open(megadb, work_dir=Path(tempfile.gettempdir())) as store:
        return [_summary(store, name) for name in store.entries]


def _summary(store: MetadataStore, dataset: str) -> Summary:
    [(images, labelled, boxed, locations)] = store.rows(
        dataset,
        "SELECT count(*), count(*) FILTER (len(labels) > 0), count(boxes), "
        "count(DISTINCT location) FROM read_parquet($table)",
    )
    [(labels,)] = store.rows(
        dataset,
        "SELECT count(DISTINCT label) FROM "
        "(SELECT unnest(labels) AS label FROM read_parquet($table))",
    )
    entry = store.entries[dataset]
    return Summary(
        dataset=dataset,
        images=images,
        labelled=labelled,
        boxed=boxed,
        labels=labels,
        locations=locations,
        location_from=entry.location_from,
        source=entry.root or entry.base_url or entry.container or "",
    )
