"""Whether an image is still the one that was read: the one rule for all commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from classification.runtime import parallel
from classification.runtime.contents import Contents, digest
from classification.runtime.errors import ItemError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from classification.storage import ImageStore

T = TypeVar("T")


def current(
    store: ImageStore, name: str, known: Contents, *, verify: bool = False
) -> Contents:
    """Return what an image is now; its digest says whether it changed.

    Where the stamp is the known one, the image is taken to be unchanged. Else its bytes are
    read. An image that was only written anew, or copied, has the known digest and another
    stamp, which is worth noting. Where nothing tells (no stamp), it is taken to be
    unchanged, and the result's stamp is None.

    Args:
        store: where the image is.
        name: of the image in the store.
        known: what it was.
        verify: read the bytes in any case.

    Raises:
        ItemError: it is gone, or cannot be read; what was read is not it.
        StorageError: the store as a whole cannot be reached.
    """
    if not verify:
        stamp = store.stamp(name)
        if stamp is None or stamp == known.stamp:
            return Contents(known.digest, stamp)
    data, stamp = store.load(name)
    return Contents(digest(data), stamp)


def digest_in(contents: Contents | None) -> str:
    """Return the digest; empty where an image could not be read."""
    return "" if contents is None else contents.digest


def current_of_all(
    store: ImageStore,
    items: Iterable[tuple[T, str, Contents | None]],
    *,
    verify: bool = False,
    threads: int,
) -> Iterator[tuple[T, Contents | None, Contents | None]]:
    """Yield each item with what its image was, and what it is now; in order.

    What an image is now is None where it cannot be read. An image whose server does not
    answer is taken to be unchanged, without a stamp.

    Args:
        store: where the images are.
        items: anything, the name of its image in the store, and what that was; None
            where it could not be read. Read lazily.
        verify: read the bytes of all images.
        threads: how many images are looked at side by side.

    Raises:
        StorageError: the store as a whole cannot be reached.
    """

    def look(
        item: tuple[T, str, Contents | None],
    ) -> tuple[T, Contents | None, Contents | None]:
        key, name, known = item
        try:
            if known is None:
                data, stamp = store.load(name)
                return key, None, Contents(digest(data), stamp)
            return key, known, current(store, name, known, verify=verify)
        except UnreachableError:
            return key, known, None if known is None else Contents(known.digest, None)
        except ItemError:
            return key, known, None

    return parallel.ordered_map(look, items, threads=threads, ahead=parallel.FAR_AHEAD)
