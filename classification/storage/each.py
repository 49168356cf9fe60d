"""Reads many images of a store, by threads, and makes something of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from classification.runtime import parallel
from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from classification.storage import ImageStore

T = TypeVar("T")


def read_each(
    names: Iterable[str],
    store: ImageStore,
    make: Callable[[bytes], T],
    *,
    threads: int | None = None,
) -> Iterator[tuple[str, T | ItemError]]:
    """Yields what is made of each image, in the order given; or why it cannot be.

    A few images for each thread are in memory at a time.

    Args:
        names: of images in the store, read lazily.
        store: where they are.
        make: called in a thread with the bytes of an image; its ``ItemError`` is yielded
            as one of the store's is.
        threads: how many; as many as there are cores by default.

    Raises:
        StorageError: the store as a whole cannot be reached.
    """

    def one(name: str) -> tuple[str, T | ItemError]:
        try:
            return name, make(store.read(name))
        except ItemError as error:
            return name, error

    return parallel.ordered_map(one, names, threads=threads or parallel.cores())
