"""A map over threads that keeps order and holds only a few items at a time."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")


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
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= threads * ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


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
