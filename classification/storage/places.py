"""Where images are, said by dataset or for all of them: folders, addresses, containers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import dataset_list
from classification.runtime.addresses import is_address, shown
from classification.runtime.errors import ConfigurationError
from classification.storage import azure
from classification.storage.azure import AzureContainerStore
from classification.storage.datasets import DatasetStore
from classification.storage.keeping import DistantStore
from classification.storage.layered import LayeredStore
from classification.storage.local import LocalStore
from classification.storage.outage import LenientStore
from classification.storage.web import IMAGE_PATIENCE, WebStore
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from classification.artifacts.dataset_list import DatasetEntry
    from classification.storage import ImageStore
    from classification.storage.digests import Md5
    from classification.storage.retrying import Patience


_FILE_MARK = "@"


@dataclass(frozen=True)
class Place:
    """A folder, a web address or a container that holds images.

    Attributes:
        where: path of the folder, or URL, or ``@FILE`` that holds the URL; never to be
            shown, for it may hold a token.
        dataset: the images are of this dataset, and their names do not begin with it;
            empty where ``where`` holds images under their full names.
        is_container: a URL of an Azure container, whatever it looks like.
    """

    where: str
    dataset: str = ""
    is_container: bool = False

    @property
    def is_remote(self) -> bool:
        """Says whether it is a web address."""
        return self.is_container or is_address(self.where)

    @property
    def address(self) -> str:
        """Returns where it is, without a token."""
        return shown(self.url).rstrip("/") if self.is_remote else self.where

    @cached_property
    def url(self) -> str:
        """Returns where it is, with its token.

        Raises:
            ConfigurationError: the file that holds it cannot be read, or it is none.
        """
        url = read_address(self.where)
        if not is_address(url):
            raise ConfigurationError("--container-url: no address of http or https")
        return url

    @property
    def is_there(self) -> bool:
        """Says whether it is a folder that exists, or a web address, be it as it may."""
        return self.is_remote or Path(self.where).is_dir()

    def open(self, patience: Patience, *, md5: Md5 = "check") -> ImageStore:
        """Opens it.

        Raises:
            ConfigurationError: it is to be a container, and no address.
        """
        if not self.is_remote:
            return LocalStore(Path(self.where))
        kind = AzureContainerStore if self.is_container else WebStore
        return kind(self.url, patience=patience, md5=md5)


def read_address(text: str) -> str:
    """Returns a text, or what is in the file that ``@FILE`` names.

    So an address with a token need not stand in the list of processes.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    if not text.startswith(_FILE_MARK):
        return text
    path = Path(text.removeprefix(_FILE_MARK))
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise ConfigurationError(f"cannot read {path}: {reason}") from error


def parse(text: str, *, is_container: bool = False) -> Place:
    """Reads ``[DATASET=]PLACE``.

    What stands before the first ``=`` is a dataset, unless it holds a slash, colon or
    question mark: ``./a=b`` is a folder, ``https://x?y=z`` an address.
    """
    dataset, equals, where = text.partition("=")
    if not equals or any(character in dataset for character in "/\\?:@"):
        return Place(text, is_container=is_container)
    return Place(where, dataset, is_container=is_container)


class Places(LayeredStore):
    """Images in several places, see ``open_places``."""

    def __init__(
        self, stores: Sequence[ImageStore], distant: Sequence[DistantStore]
    ) -> None:
        """Takes the stores in the order in which they are asked."""
        super().__init__(stores)
        self._distant = tuple(distant)

    @property
    def fetched(self) -> int:
        """Returns how many images were read from elsewhere than this machine."""
        return sum(store.fetched for store in self._distant)


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How images are had from elsewhere.

    Attributes:
        patience: how long a server is waited for.
        md5: what to do about the MD5 that it says of an image.
        keep: folder that gets each image under its full name, or None.
    """

    patience: Patience = IMAGE_PATIENCE
    md5: Md5 = "check"
    keep: Path | None = None


def manner_to_log(manner: Manner) -> dict[str, object]:
    """Returns what a step log says of it."""
    return {
        "tries": manner.patience.tries,
        "timeout": manner.patience.silence_s,
        "md5": manner.md5,
    }


def open_places(
    places: Sequence[Place],
    *,
    datasets: Iterable[str] = (),
    megadb: Path | None = None,
    manner: Manner = Manner(),
) -> Places:
    """Opens all places of images as one store.

    An image is looked for in the folders of this machine first: in those of all datasets,
    in the order given; then in those given for its dataset; then in the root folder that
    the metadata store knows. Then it is looked for in the same order behind web
    addresses and in containers.

    Args:
        places: given by a person.
        datasets: of the images; a name that no place needs may be any.
        megadb: a metadata store, or None.
        manner: how images are had from elsewhere.

    Raises:
        ConfigurationError: there is no place for a dataset, or no such folder.
        ArtifactError: the metadata store is none.
    """
    if not places and megadb is None:
        raise ConfigurationError(
            "where are the images? --images-dir names a folder, --base-url a web "
            "address, --container-url a container, and --megadb a metadata store, which "
            "knows them by dataset"
        )
    for place in places:
        if not place.is_there:
            raise ConfigurationError(f"no such folder: {place.where} (--images-dir)")
    shared = [place for place in places if not place.dataset]
    own = find_places(
        sorted({*datasets, *(place.dataset for place in places if place.dataset)}),
        places,
        megadb,
        is_needed=not shared,
    )
    near = _open_layer(shared, own, manner, is_remote=False)
    far = [
        DistantStore(store, keep=manner.keep)
        for store in _open_layer(shared, own, manner, is_remote=True)
    ]
    return Places([*near, *far], far)


def _open_layer(
    shared: Iterable[Place],
    own: Mapping[str, Sequence[Place]],
    manner: Manner,
    *,
    is_remote: bool,
) -> list[ImageStore]:
    """Opens the places that are, or are not, on this machine, in order."""
    stores = _open_all(shared, manner, is_remote=is_remote)
    by_dataset = {
        dataset: LayeredStore(opened)
        for dataset, places in own.items()
        if (opened := _open_all(places, manner, is_remote=is_remote))
    }
    return [*stores, DatasetStore(by_dataset)] if by_dataset else stores


def _open_all(
    places: Iterable[Place], manner: Manner, *, is_remote: bool
) -> list[ImageStore]:
    opened = (
        place.open(manner.patience, md5=manner.md5)
        for place in places
        if place.is_remote == is_remote
    )
    return [LenientStore(store) if is_remote else store for store in opened]


def find_places(
    datasets: Iterable[str],
    places: Iterable[Place],
    megadb: Path | None,
    *,
    is_needed: bool = True,
    flag: str = "--images-dir",
) -> dict[str, list[Place]]:
    """Returns the places of single datasets: those given, and those that are known.

    A known address is left out where it is given, too, which is with its token.

    Args:
        datasets: their names.
        places: given by a person; those of all datasets are passed over.
        megadb: a metadata store, or None.
        is_needed: each dataset has to have one; else those that have none are left out.
        flag: what names a folder on the command line, for messages.

    Raises:
        ConfigurationError: a dataset has no place.
        ArtifactError: the metadata store is none.
    """
    entries = {} if megadb is None else dataset_list.read(megadb)
    entry_by_name = {normal(name): entry for name, entry in entries.items()}
    own = {}
    for dataset in datasets:
        entry = entry_by_name.get(normal(dataset))
        given = [
            p for p in places if p.dataset and normal(p.dataset) == normal(dataset)
        ]
        opened = {place.address for place in given}
        known = [] if entry is None else _known_places(dataset, entry)
        known = [place for place in known if place.address not in opened]
        if is_needed and not any(place.is_there for place in given + known):
            raise ConfigurationError(_lacking(dataset, entry, flag))
        if given or known:
            own[dataset] = given + known
    return own


def _known_places(dataset: str, entry: DatasetEntry) -> list[Place]:
    """Returns where a metadata store has a dataset; the folder may be out of reach."""
    places = []
    if entry.root:
        places.append(Place(entry.root, dataset))
    if entry.base_url:
        places.append(Place(entry.base_url, dataset))
    if entry.container:
        url = azure.with_token(entry.container)
        places.append(Place(url, dataset, is_container=True))
    return places


def _lacking(dataset: str, entry: DatasetEntry | None, flag: str) -> str:
    what = "nobody says where it is"
    if entry is not None and entry.root:
        what = f"no such folder: {entry.root}, its root in the metadata store"
    return (
        f"the dataset {dataset!r}: {what}; {flag} DIR, --base-url or --container-url "
        "says where else"
    )
