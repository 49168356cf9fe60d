"""What stands beside a shard's file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import shard_record
from classification.runtime.errors import ArtifactError
from classification.runtime.shards import Shard
from tests.commands import ROOT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "o.shard-002-of-003.json"
    path.write_bytes(b"some images")
    return path


def tell(results: Path) -> None:
    shard_record.tell(
        results,
        Shard(2, 3),
        step="run_detector_batch",
        run="ab",
        span=range(4, 8),
        total=10,
        failed=1,
    )


def test_the_golden_file_is_of_the_golden_file() -> None:
    found = shard_record.find(ROOT / "tests/golden/classifier_output.csv")
    assert found is not None
    assert (found.shard, found.of) == (3, 10)


def test_what_is_told_is_found(results: Path) -> None:
    assert shard_record.find(results) is None
    tell(results)
    record = shard_record.find(results)
    assert record is not None
    assert (record.step, record.shard, record.of) == ("run_detector_batch", 2, 3)
    assert (record.first, record.items, record.failed, record.total) == (4, 4, 1, 10)
    assert shard_record.find_of_run(results, "ab") == record
    assert shard_record.find_of_run(results, "cd") is None


def test_beside_another_file_it_says_nothing(results: Path) -> None:
    tell(results)
    results.write_bytes(b"other images")
    assert shard_record.find(results) is None
    results.unlink()
    assert shard_record.find(results) is None


def test_a_broken_one_is_none_where_the_shard_can_be_run_again(results: Path) -> None:
    shard_record.path_beside(results).write_text("{")
    with pytest.raises(ArtifactError, match="not JSON"):
        shard_record.find(results)
    assert shard_record.find_of_run(results, "ab") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard": 0}, "shard: a number from 1 to 3 expected"),
        ({"shard": 4}, "shard: a number from 1 to 3 expected"),
        ({"shard": "2"}, "shard: Expected `int`, got `str`"),
        ({"first": -1}, "items: more items than there are"),
        ({"items": 7}, "items: more items than there are"),
        ({"items": -1}, "items: more items than there are"),
        ({"failed": 5}, "failed: more than there are items"),
        ({"y": 1}, "Object contains unknown field `y`"),
    ],
)
def test_malformed(results: Path, change: dict[str, object], message: str) -> None:
    tell(results)
    path = shard_record.path_beside(results)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    with pytest.raises(ArtifactError) as caught:
        shard_record.find(results)
    assert str(caught.value) == f"{path}: {message}"
