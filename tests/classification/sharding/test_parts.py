from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import shard_record
from classification.runtime.errors import TooManyFailuresError
from classification.runtime.shards import Shard
from classification.sharding.parts import Part

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def part(tmp_path: Path) -> Part:
    output = tmp_path / "o.json"
    output.write_bytes(b"x")
    return Part(
        shard=Shard(2, 3), step="s", run="ab", output=output, span=range(2, 6), total=9
    )


def test_a_shard_is_done_once_that_is_said(part: Part) -> None:
    assert not part.skip(restart=False, max_failures=None)
    part.complete(1)
    assert part.skip(restart=False, max_failures=None)
    assert not part.skip(restart=True, max_failures=None)


def test_a_shard_of_another_run_or_place_is_not_done(part: Part) -> None:
    part.complete(0)
    assert part.is_done()
    assert not replace(part, run="cd").is_done()
    assert not replace(part, shard=Shard(1, 3)).is_done()
    part.output.write_bytes(b"y")
    assert not part.is_done()


def test_a_done_shard_ends_as_it_did(part: Part) -> None:
    part.complete(3)
    with pytest.raises(TooManyFailuresError, match="3 of 4 items failed"):
        part.skip(restart=False, max_failures=2)
    part.complete(4)
    with pytest.raises(TooManyFailuresError, match="all 4 items failed"):
        part.skip(restart=False, max_failures=None)


def test_shards_have_journals_that_are_not_each_others(part: Part) -> None:
    other = replace(part, shard=Shard(3, 3))
    assert len({part.key, other.key, part.run}) == 3


def test_without_a_shard_it_is_the_whole_run(part: Part) -> None:
    whole = replace(part, shard=None)
    assert whole.key == "ab"
    whole.complete(0)
    assert not shard_record.path_beside(whole.output).exists()
    assert not whole.skip(restart=False, max_failures=None)
