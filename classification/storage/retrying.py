"""When what failed is tried again: after a random pause, within one budget of time.

The pauses are those of "full jitter": uniform between nothing and a bound that doubles
from try to try, so that many threads, and many machines, do not come back all at once
(M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
"""

from __future__ import annotations

import email.utils
import itertools
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from classification.runtime import parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        silence_s: without a byte from it.
        limit_s: for one file: all tries, and the pauses between them.
        tries: how often it is asked in all.
        pause_s: the longest pause before the second try; it doubles from try to try.
        longest_pause_s: which it does not exceed, unless the server asks for more.
        least_rate: bytes a second, on average, that have to come once a try has taken
            ``GRACE_S``.
    """

    silence_s: float = 30
    limit_s: float = 3600
    tries: int = 10
    pause_s: float = 1
    longest_pause_s: float = 20
    least_rate: float = 1024


GRACE_S = 15

# Statuses of HTTP that may pass.
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


class PassingError(Exception):
    """Worth another try; the text is the reason alone.

    Attributes:
        wait_s: how long the server asks to be left alone.
    """

    def __init__(self, reason: str, *, wait_s: float = 0) -> None:
        """Says what went wrong."""
        super().__init__(reason)
        self.wait_s = wait_s


class GaveUpError(Exception):
    """What may pass did not; the text says why, and how often it was tried."""


class Deadline:
    """The end of what one file may take."""

    def __init__(self, limit_s: float) -> None:
        """Begins now."""
        self._end_s = time.monotonic() + limit_s

    def left_s(self) -> float:
        """Returns the seconds that are left; none, or fewer, when it is over."""
        return self._end_s - time.monotonic()


def insist(what: str, attempt: Callable[[Deadline], T], patience: Patience) -> T:
    """Makes an attempt until it succeeds, or fails for good.

    Args:
        what: the thing's name, for the log.
        attempt: raises PassingError where another try is worth it.
        patience: how long, and how often.

    Raises:
        GaveUpError: it was tried often, or long, enough; its cause is the last error.
    """
    deadline = Deadline(patience.limit_s)
    for number in itertools.count(1):
        try:
            return attempt(deadline)
        except PassingError as error:
            pause_s = _pause_s(number, patience) + error.wait_s
            if number >= patience.tries or pause_s >= deadline.left_s():
                raise GaveUpError(_ended(error, number, patience)) from error
            _logger.info("%s: %s; again in %.2g s", what, error, pause_s)
        parallel.pause(pause_s)
    raise AssertionError


def _pause_s(number: int, patience: Patience) -> float:
    longest_s = min(patience.pause_s * 2 ** (number - 1), patience.longest_pause_s)
    return random.uniform(0, longest_s)  # noqa: S311 - nothing secret


def _ended(error: PassingError, number: int, patience: Patience) -> str:
    if number >= patience.tries:
        return f"{error} (try {number} of {patience.tries})"
    asked = f", and asks to wait {error.wait_s:g} s" if error.wait_s else ""
    return f"{error}{asked} (try {number}; {patience.limit_s:g} s are over)"


def asked_wait_s(headers: Mapping[str, str]) -> float:
    """Returns the seconds of ``Retry-After``, which is a number or a time."""
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
