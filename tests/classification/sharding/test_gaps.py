from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import StorageError
from classification.runtime.name_set import NameSet
from classification.runtime.shards import Shard
from classification.sharding import gaps

if TYPE_CHECKING:
    from pathlib import Path

    from classification.sharding.gaps import Gaps

FILES = {"a": [f"{n}.jpg" for n in range(5)], "b": ["x.jpg"]}
SHARDS = [Shard(number, 3) for number in (1, 2, 3)]


def divide(shard: Shard | None, cache: Path) -> Gaps:
    return gaps.divide(
        FILES,
        shard,
        batch_size=2,
        shaping=["model"],
        cache_dir=gaps.cache_of(cache, shard),
        detector_version="7",
    )


def detected(*names: str) -> SimpleNamespace:
    return SimpleNamespace(detected=NameSet(names))


def test_batches_of_all_datasets_are_divided(tmp_path: Path) -> None:
    own = [divide(shard, tmp_path).files_by_dataset for shard in SHARDS]
    assert [files["a"] for files in own] == [
        ["0.jpg", "1.jpg"],
        ["2.jpg", "3.jpg"],
        ["4.jpg"],
    ]
    assert [files["b"] for files in own] == [[], [], ["x.jpg"]]
    many = {f"{n}": ["x.jpg"] for n in range(9)}
    shared = [gaps.divide(many, shard, batch_size=4) for shard in SHARDS]
    assert [sum(map(len, own.files_by_dataset.values())) for own in shared] == [3] * 3
    assert len({divide(shard, tmp_path).part_of_run for shard in SHARDS}) == 3


def unchanged(_: str, __: Path) -> bool:
    return True


def test_a_complete_dataset_is_not_begun_again(tmp_path: Path) -> None:
    own = divide(SHARDS[0], tmp_path)
    assert own.begin(restart=False, is_current=unchanged) == own.files_by_dataset
    for dataset in "ab":
        path = tmp_path / f"shard-001-of-003/v7/{dataset}.json"
        assert own.part_by_dataset[dataset].output == path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    own.complete({"a": detected("0.jpg"), "b": detected()})
    assert own.begin(restart=False, is_current=unchanged) == {}
    asked = []

    def b_changed(dataset: str, path: Path) -> bool:
        asked.append((dataset, path.name))
        return dataset != "b"

    assert list(own.begin(restart=False, is_current=b_changed)) == ["b"]
    assert asked == [("a", "a.json"), ("b", "b.json")]
    own.part_by_dataset["a"].output.write_text("of another run")
    assert list(own.begin(restart=False, is_current=unchanged)) == ["a", "b"]
    assert not own.part_by_dataset["a"].output.exists()
    assert list(own.begin(restart=True, is_current=unchanged)) == ["a", "b"]


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    own = divide(SHARDS[0], tmp_path)
    own.part_by_dataset["a"].output.mkdir(parents=True)
    with pytest.raises(StorageError, match=r"cannot remove .*a\.json: "):
        own.begin(restart=False, is_current=unchanged)


def test_images_that_are_left_are_the_shards_own(tmp_path: Path) -> None:
    boxes = {"a": detected("2.jpg"), "b": detected()}
    assert divide(SHARDS[1], tmp_path).left(boxes) == ["a/3.jpg"]
    assert divide(None, tmp_path).left(boxes) == [
        *(f"a/{n}.jpg" for n in (0, 1, 3, 4)),
        "b/x.jpg",
    ]


def test_without_a_shard_all_is_as_it_was(tmp_path: Path) -> None:
    whole = divide(None, tmp_path)
    assert whole.begin(restart=False, is_current=unchanged) == FILES
    assert whole.part_of_run == ()
    names = {"a": NameSet(["0.jpg"]), "b": NameSet(), "c": NameSet()}
    assert whole.wanted(names) == {"a": names["a"], "b": names["b"]}
    assert gaps.cache_of(tmp_path, None) == tmp_path


def test_the_digest_of_a_run_is_of_its_images(tmp_path: Path) -> None:
    one = divide(SHARDS[0], tmp_path).part_by_dataset
    assert one["a"].run != one["b"].run
    assert one["a"].run == divide(SHARDS[1], tmp_path).part_by_dataset["a"].run
