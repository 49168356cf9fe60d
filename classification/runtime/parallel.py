"""A map over threads that keeps order, holds few items at a time, and ends at once."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")

# How far ahead of the caller threads may be where results are a few words each, so that one
# item that takes long, as an image that is asked for again and again, holds up no others.
FAR_AHEAD = 64

_of_thread = threading.local()


def cores() -> int:
    """Returns the number of processor cores this process may use."""
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else (os.cpu_count() or 1)
    )


def ordered_map(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int = 2
) -> Iterator[R]:
    """Yields ``function(item)`` for each item, in order, computed by threads.

    Memory is bounded: at most ``threads * ahead`` items are in flight or waiting
    to be taken, however long ``items`` is, and ``items`` is read no further ahead.

    Args:
        function: called in a worker thread; what it raises is raised here, in
            the item's turn.
        items: read lazily, in the caller's thread.
        threads: number of worker threads; with 1, everything runs in the caller's.
        ahead: how many items per thread may be unfinished or untaken.
    """
    if threads == 1:
        yield from map(function, items)
        return
    pending: deque[Future[R]] = deque()
    over = threading.Event()
    with ThreadPoolExecutor(threads, initializer=_begin, initargs=(over,)) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= threads * ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            over.set()
            for future in pending:
                future.cancel()


def pause(seconds: float) -> None:
    """Waits, but in a thread of ``ordered_map`` not for longer than the map goes on.

    Raises:
        CancelledError: the map has ended, be it by an error or an interrupt; nobody
            takes what the thread works at.
    """
    over: threading.Event | None = getattr(_of_thread, "over", None)
    if over is None:
        time.sleep(seconds)
    elif over.wait(seconds):
        raise CancelledError


def _begin(over: threading.Event) -> None:
    _of_thread.over = over


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yields ``items``, while a thread is already at the one that comes next.

    Args:
        items: read in that thread, one after the other; what it raises is raised here,
            in its turn.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(_next_of, iterator)
        while taken := pending.result():
            pending = pool.submit(_next_of, iterator)
            yield from taken


def _next_of(iterator: Iterator[T]) -> tuple[T, ...]:
    """Returns the next item, or nothing at the end."""
    return tuple(islice(iterator, 1))
