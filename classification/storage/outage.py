"""When to stop asking a store that does not answer."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from classification.runtime.errors import (
    AccessError,
    ItemError,
    StorageError,
    UnreachableError,
)
from classification.storage import ImageStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from classification.runtime.contents import Stamp

T = TypeVar("T")

IN_A_ROW = 25  # a bad connection loses some images, and a broken one all


class LenientStore(ImageStore):
    """A store that may fail to answer now and then, which is then the image's failure.

    So many images in a row without an answer are a failure of the store. Whether an
    image exists is never guessed: ``exists`` fails as the store does.
    """

    def __init__(self, store: ImageStore, limit: int = IN_A_ROW) -> None:
        """Takes the store, and how many images in a row may be without an answer."""
        self._store = store
        self._limit = limit
        self._in_a_row = 0
        self._lock = threading.Lock()

    def load(self, name: str) -> tuple[bytes, Stamp | None]:
        """Return the image's bytes and stamp; see ``ImageStore.load``.

        Raises:
            UnreachableError: the store gave no answer for this image.
            ItemError: it does not have the image, or not to give.
            AccessError: it lets nobody in.
            StorageError: it gave no answer for many images in a row.
        """
        return self._ask(lambda: self._store.load(name))

    def stamp(self, name: str) -> Stamp | None:
        """Return the image's stamp; raises as ``load`` does."""
        return self._ask(lambda: self._store.stamp(name))

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            answer = question()
        except AccessError:
            raise
        except StorageError as error:
            self._count(str(error))
            raise UnreachableError(str(error)) from error
        except ItemError:
            self._in_a_row = 0
            raise
        self._in_a_row = 0
        return answer

    def exists(self, name: str) -> bool:
        """Says whether the store has the image; see ``ImageStore.exists``."""
        return self._store.exists(name)

    def _count(self, reason: str) -> None:
        with self._lock:
            self._in_a_row += 1
            is_enough = self._in_a_row >= self._limit
        if is_enough:
            raise StorageError(
                f"{self._limit} images in a row could not be reached, the last one: "
                f"{reason}; run again to go on"
            )
