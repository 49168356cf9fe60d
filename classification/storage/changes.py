"""Whether an image is still the one that was read: the one rule for all commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.runtime.contents import Contents, digest

if TYPE_CHECKING:
    from classification.storage import ImageStore


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
