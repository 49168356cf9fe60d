"""Which images of a long list a place holds, without reading them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from classification.runtime import parallel
from classification.runtime.errors import StorageError
from classification.runtime.name_set import NameSet
from classification.storage.azure import AzureContainerStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from classification.runtime.name_set import Names
    from classification.storage import ImageStore
    from classification.storage.places import Place
    from classification.storage.retrying import Patience


class Holdings(Protocol):
    """What a place holds."""

    def hold(self, names: Sequence[str]) -> Sequence[bool]:
        """Says of each name whether there is such an image, in the order given.

        Raises:
            StorageError: it cannot be told; never taken for "no".
        """
        ...


def open_holdings(
    place: Place,
    dataset: str,
    *,
    listing: Callable[[Path], Names],
    patience: Patience,
    threads: int,
) -> Holdings:
    """Opens what a place holds of a dataset; names begin below the dataset.

    Args:
        place: of this dataset alone, or of several.
        dataset: its name.
        listing: given a folder, says which files are in it.
        patience: how long a server is waited for.
        threads: how many images a server is asked for at once.
    """
    below = "" if place.dataset else f"{dataset}/"
    if not place.is_remote:
        folder = Path(place.where) / below
        return FolderHoldings(Path(place.where), listing(folder))
    store = place.open(patience)
    if isinstance(store, AzureContainerStore):
        return ContainerHoldings(store, below)
    return ServerHoldings(store, below, threads=threads)


class FolderHoldings:
    """What a folder of this machine holds."""

    def __init__(self, root: Path, names: Names) -> None:
        """Takes a folder that has to exist, and what says which files are in it."""
        self._root = root
        self._names = names

    def hold(self, names: Sequence[str]) -> Sequence[bool]:
        """Says which are there; see ``Holdings.hold``."""
        if not self._root.is_dir():
            raise StorageError(
                f"no such folder: {self._root}, which may hold images that are not "
                "elsewhere"
            )
        return [name in self._names for name in names]


class ContainerHoldings:
    """What a container holds: its names are listed once, when it is first asked."""

    def __init__(self, store: AzureContainerStore, below: str) -> None:
        """Takes the container, and a folder in it, ending with ``/``, or nothing."""
        self._store = store
        self._below = below
        self._names: NameSet | None = None

    def hold(self, names: Sequence[str]) -> Sequence[bool]:
        """Says which are there; see ``Holdings.hold``."""
        if self._names is None:
            self._names = NameSet(self._store.names(self._below))
        return [name in self._names for name in names]


class ServerHoldings:
    """What a store holds that has to be asked for each image, by many threads."""

    def __init__(self, store: ImageStore, below: str, *, threads: int) -> None:
        """Takes the store, what is put before each name, and the number of threads."""
        self._store = store
        self._below = below
        self._threads = threads

    def hold(self, names: Sequence[str]) -> Sequence[bool]:
        """Says which are there; see ``Holdings.hold``."""
        full = (self._below + name for name in names)
        exists = self._store.exists
        return list(parallel.ordered_map(exists, full, threads=self._threads))
