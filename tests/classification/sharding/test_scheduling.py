from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import PipelineError
from classification.runtime.shards import Shard
from classification.sharding import scheduling
from classification.sharding.scheduling import Ending

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOST = Ending(None, "the machine is gone")
FAILED = Ending(1, "error: no space left")
DONE = Ending(0)


class Inline:
    """Runs attempts one after the other, in this thread."""

    def __init__(self, attempt: Callable[[Shard], Ending]) -> None:
        self.begun: list[Shard] = []
        self._waiting: deque[Shard] = deque()
        self._attempt = attempt

    def start(self, shards: Sequence[Shard]) -> None:
        self._waiting.extend(shards)

    def wait(self) -> tuple[Shard, Ending]:
        shard = self._waiting.popleft()
        self.begun.append(shard)
        return shard, self._attempt(shard)


def test_each_shard_is_run_once() -> None:
    tasks = Inline(lambda shard: Ending(4) if shard.number == 2 else DONE)
    report = scheduling.run_all(tasks, 3)
    assert tasks.begun == [Shard(1, 3), Shard(2, 3), Shard(3, 3)]
    assert (report.shards, report.again) == (3, [])


def test_a_lost_attempt_is_followed_by_another_of_its_own_number() -> None:
    tasks = Inline(lambda shard: LOST if shard == Shard(1, 2) else DONE)
    report = scheduling.run_all(tasks, 2)
    assert tasks.begun == [Shard(1, 2), Shard(2, 2), Shard(1, 2, 2)]
    assert report.again == [(Shard(1, 2), LOST.said)]


def test_a_machine_may_be_lost_more_often_than_a_command_may_fail() -> None:
    ends = iter([*[LOST] * 9, FAILED, FAILED, DONE])
    report = scheduling.run_all(Inline(lambda _: next(ends)), 1)
    assert len(report.again) == 11


@pytest.mark.parametrize(
    ("ending", "times", "said"),
    [
        (FAILED, 3, "shard 2/2 failed 3 times, at last with: error: no space left; "),
        (LOST, 10, "shard 2/2 was lost 10 times, at last with: the machine is gone; "),
        (Ending(2, "x"), 3, "shard 2/2 failed 3 times, at last with: x; "),
    ],
)
def test_it_gives_up_at_last(ending: Ending, times: int, said: str) -> None:
    tasks = Inline(lambda shard: ending if shard.number == 2 else DONE)
    with pytest.raises(PipelineError) as refused:
        scheduling.run_all(tasks, 2)
    assert str(refused.value) == f"{said}what is done is kept, run again to go on"
    assert len(tasks.begun) == 1 + times
