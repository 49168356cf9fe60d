from __future__ import annotations

import threading
import time

import pytest

from classification.runtime import parallel
from classification.storage import retrying
from classification.storage.retrying import (
    Deadline,
    GaveUpError,
    PassingError,
    Patience,
    insist,
)

QUICK = Patience(tries=4, pause_s=0.001)


class Failing:
    """Fails so many times."""

    def __init__(self, times: int, *, wait_s: float = 0) -> None:
        self.calls = 0
        self._times = times
        self._wait_s = wait_s

    def __call__(self, deadline: Deadline) -> str:
        assert deadline.left_s() > 0
        self.calls += 1
        if self.calls <= self._times:
            raise PassingError("HTTP 503", wait_s=self._wait_s)
        return "done"


def test_it_is_tried_until_it_succeeds() -> None:
    attempt = Failing(3)
    assert insist("x", attempt, QUICK) == "done"
    assert attempt.calls == 4


def test_the_number_of_tries_is_bounded() -> None:
    attempt = Failing(9)
    with pytest.raises(GaveUpError, match=r"^HTTP 503 \(try 4 of 4\)$") as raised:
        insist("x", attempt, QUICK)
    assert attempt.calls == 4
    assert isinstance(raised.value.__cause__, PassingError)


def test_what_a_server_asks_to_wait_is_waited() -> None:
    began = time.monotonic()
    insist("x", Failing(1, wait_s=0.2), QUICK)
    assert time.monotonic() - began >= 0.2


def test_a_wait_beyond_the_budget_is_not_begun() -> None:
    attempt = Failing(1, wait_s=3600)
    with pytest.raises(GaveUpError) as raised:
        insist("x", attempt, Patience(limit_s=5))
    assert str(raised.value) == (
        "HTTP 503, and asks to wait 3600 s (try 1; 5 s are over)"
    )


def test_pauses_are_random_and_their_bound_doubles() -> None:
    patience = Patience(pause_s=1, longest_pause_s=6)
    for number, longest in enumerate((1, 2, 4, 6, 6), start=1):
        pauses = [retrying._pause_s(number, patience) for _ in range(400)]
        assert 0 <= min(pauses) < longest * 0.1
        assert longest * 0.9 < max(pauses) <= longest


def test_what_will_not_pass_is_raised_as_it_is() -> None:
    def fail(_: Deadline) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        insist("x", fail, QUICK)


def test_nobody_waits_for_a_pause_once_a_map_has_ended() -> None:
    waiting = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert waiting.wait(10)
            raise ValueError("the run is over")
        waiting.set()
        insist("x", Failing(9), Patience(pause_s=1000, longest_pause_s=1000))
        return number

    began = time.monotonic()
    with pytest.raises(ValueError, match="over"):
        list(parallel.ordered_map(work, range(4), threads=2))
    assert time.monotonic() - began < 10
