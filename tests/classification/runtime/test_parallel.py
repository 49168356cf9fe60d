from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.runtime import parallel

if TYPE_CHECKING:
    from collections.abc import Iterator


def square(number: int) -> int:
    return number * number


def slow_for_small(number: int) -> int:
    time.sleep(0.002 * (8 - number % 8))
    return number


def test_cores_is_what_this_process_may_use() -> None:
    assert parallel.cores() >= 1


@settings(max_examples=25)
@given(st.lists(st.integers(), max_size=30), st.integers(1, 5), st.integers(1, 3))
def test_it_is_the_builtin_map(numbers: list[int], threads: int, ahead: int) -> None:
    mapped = parallel.ordered_map(square, numbers, threads=threads, ahead=ahead)
    assert list(mapped) == [square(n) for n in numbers]


def test_order_is_kept_when_later_items_are_faster() -> None:
    numbers = list(range(40))
    assert list(parallel.ordered_map(slow_for_small, numbers, threads=4)) == numbers


@pytest.mark.parametrize(("threads", "ahead"), [(1, 2), (2, 2), (4, 3)])
def test_items_are_read_no_further_ahead_than_promised(
    threads: int, ahead: int
) -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for number in range(100):
            read += 1
            yield number

    mapped = parallel.ordered_map(square, items(), threads=threads, ahead=ahead)
    for taken, _ in enumerate(mapped, start=1):
        assert read - taken < threads * ahead


def test_work_goes_on_while_the_consumer_is_busy() -> None:
    done = threading.Semaphore(0)

    def work(number: int) -> int:
        done.release()
        return number

    mapped = parallel.ordered_map(work, range(10), threads=2)
    next(mapped)
    for _ in range(4):
        assert done.acquire(timeout=10)
    mapped.close()  # type: ignore[attr-defined]  # a generator is promised as an iterator


def test_one_thread_is_the_callers() -> None:
    names = parallel.ordered_map(
        lambda _: threading.current_thread().name, [0], threads=1
    )
    assert list(names) == [threading.current_thread().name]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_is_raised_in_its_turn(threads: int) -> None:
    def fail_on_two(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    mapped = parallel.ordered_map(fail_on_two, range(10), threads=threads)
    assert [next(mapped), next(mapped)] == [0, 1]
    with pytest.raises(ValueError, match=r"^two$"):
        next(mapped)


def test_leaving_early_cancels_what_has_not_begun() -> None:
    started: list[int] = []
    may_go = threading.Event()

    def wait(number: int) -> int:
        started.append(number)
        if number:
            may_go.wait(10)
        return number

    mapped = parallel.ordered_map(wait, range(100), threads=2, ahead=4)
    assert next(mapped) == 0
    threading.Timer(0.05, may_go.set).start()
    mapped.close()  # type: ignore[attr-defined]  # a generator is promised as an iterator
    assert len(started) < 8


@settings(max_examples=25)
@given(st.lists(st.integers()))
def test_ahead_yields_what_it_is_given(numbers: list[int]) -> None:
    assert list(parallel.ahead(numbers)) == numbers


def test_ahead_reads_one_item_further_in_a_thread() -> None:
    read = threading.Semaphore(0)
    threads = set()

    def items() -> Iterator[int]:
        for number in range(3):
            threads.add(threading.get_ident())
            yield number
            read.release()

    for _ in parallel.ahead(items()):
        assert read.acquire(timeout=5)
    assert threading.get_ident() not in threads


def test_ahead_raises_what_reading_raises_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("late")

    taken = []
    with pytest.raises(ValueError, match="late"):
        taken.extend(parallel.ahead(items()))
    read = parallel.ahead(items())
    assert next(read) == 1
