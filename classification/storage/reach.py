"""Which addresses may be asked: all, unless whoever asks works for strangers.

A service fetches what others name. What it may reach is checked where a connection is
opened, so that a redirect leads no further than what was asked for::

    with reach.limited_to(admission.check_opening):
        store.read(name)
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Check: TypeAlias = Callable[[str], None]

_CHECK: ContextVar[Check | None] = ContextVar("_CHECK", default=None)


@contextmanager
def limited_to(check: Check) -> Iterator[None]:
    """Lets this thread open, in the block, only addresses that pass a check.

    Args:
        check: called with each address before a connection to it is opened, those of
            redirects included; raises ItemError where it must not be.
    """
    token = _CHECK.set(check)
    try:
        yield
    finally:
        _CHECK.reset(token)


def check(url: str) -> None:
    """Says whether ``url`` may be asked; whoever opens a connection calls it before.

    Raises:
        ItemError: it must not be.
    """
    limit = _CHECK.get()
    if limit is not None:
        limit(url)
