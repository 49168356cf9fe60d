"""Where images are, said by dataset or for all of them: folders and web addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import dataset_list
from classification.runtime.errors import ConfigurationError
from classification.storage.datasets import DatasetStore
from classification.storage.layered import LayeredStore
from classification.storage.local import LocalStore
from classification.storage.web import IMAGE_PATIENCE, WebStore
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from classification.artifacts.dataset_list import DatasetEntry
    from classification.storage import ImageStore
    from classification.storage.download import Patience

_WEB = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """A folder or a web address that holds images.

    Attributes:
        where: path of the folder, or URL.
        dataset: the images are of this dataset, and their names do not begin with it;
            empty where ``where`` holds images under their full names.
    """

    where: str
    dataset: str = ""

    @property
    def is_remote(self) -> bool:
        """Says whether it is a web address."""
        return is_address(self.where)

    def open(self, patience: Patience) -> ImageStore:
        """Opens it."""
        if self.is_remote:
            return WebStore(self.where, patience=patience)
        return LocalStore(Path(self.where))


def is_address(text: str) -> bool:
    """Says whether a text is a web address, not a path."""
    return bool(_WEB.match(text))


def parse(text: str) -> Place:
    """Reads ``[DATASET=]PLACE``.

    What stands before the first ``=`` is a dataset, unless it holds a slash, as no
    dataset's name does: ``./a=b`` is a folder, ``https://x?y=z`` an address.
    """
    dataset, equals, where = text.partition("=")
    if not equals or "/" in dataset or "\\" in dataset:
        return Place(text)
    return Place(where, dataset)


def open_places(
    places: Sequence[Place],
    *,
    datasets: Iterable[str],
    megadb: Path | None,
    patience: Patience = IMAGE_PATIENCE,
) -> ImageStore:
    """Opens all places of images as one store.

    An image is looked for in the places of all datasets, in the order given; then in
    those given for its dataset; then where the metadata store has it, in the root folder
    before behind the base URL.

    Args:
        places: given by a person.
        datasets: of the images; a name that no place needs may be any.
        megadb: a metadata store, or None.
        patience: how long a server is waited for.

    Raises:
        ConfigurationError: there is no place for a dataset.
        ArtifactError: the metadata store is none.
    """
    if not places and megadb is None:
        raise ConfigurationError(
            "where are the images? --images-dir names a folder, --base-url a web "
            "address, and --megadb a metadata store, which knows them by dataset"
        )
    for place in places:
        if not place.is_remote and not Path(place.where).is_dir():
            raise ConfigurationError(f"no such folder: {place.where} (--images-dir)")
    entries = {} if megadb is None else dataset_list.read(megadb)
    shared = [place.open(patience) for place in places if not place.dataset]
    own = {
        dataset: [place.open(patience) for place in found]
        for dataset in sorted(set(datasets))
        if (found := _own_places(dataset, places, entries, is_needed=not shared))
    }
    if not own:
        return LayeredStore(shared)
    by_dataset = {dataset: LayeredStore(stores) for dataset, stores in own.items()}
    return LayeredStore([*shared, DatasetStore(by_dataset)])


def _own_places(
    dataset: str,
    places: Sequence[Place],
    entries: Mapping[str, DatasetEntry],
    *,
    is_needed: bool,
) -> list[Place]:
    given = [p for p in places if p.dataset and normal(p.dataset) == normal(dataset)]
    known = {normal(name): entry for name, entry in entries.items()}
    entry = known.get(normal(dataset))
    found = given + ([] if entry is None else _known_places(dataset, entry))
    if not found and is_needed:
        raise ConfigurationError(_lacking(dataset, entry))
    return found


def _known_places(dataset: str, entry: DatasetEntry) -> list[Place]:
    """Returns where a metadata store has a dataset; a folder only if it is there."""
    root = [entry.root] if entry.root and Path(entry.root).is_dir() else []
    base = [entry.base_url] if entry.base_url else []
    return [Place(where, dataset) for where in (*root, *base)]


def _lacking(dataset: str, entry: DatasetEntry | None) -> str:
    what = "nobody says where it is"
    if entry is not None and entry.root:
        what = f"no such folder: {entry.root}, its root in the metadata store"
    elif entry is not None and entry.container:
        what = "it is in a container, and containers come in a later version"
    return (
        f"the dataset {dataset!r}: {what}; --images-dir {dataset}=DIR or "
        f"--base-url {dataset}=URL says where else"
    )
