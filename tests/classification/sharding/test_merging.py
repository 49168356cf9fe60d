from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from classification.artifacts import (
    detections,
    predictions,
    predictions_info,
    shard_record,
)
from classification.artifacts.detections import Header
from classification.artifacts.predictions_info import Applied, Origin
from classification.runtime.errors import (
    ArtifactError,
    ConfigurationError,
    StorageError,
)
from classification.runtime.shards import Shard
from classification.sharding import merging

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

HEADER = Header(detection_categories={"1": "animal"}, info={"format_version": "1.6"})
APPLIED = Applied(
    method="temperature", temperature=1.41, crops=9, ece_before=0.1, ece_after=0.0
)
TOTAL, OF = 10, 4


def documents(span: range) -> list[bytes]:
    return [
        json.dumps({"file": f"{n:04}.jpg", "detections": []}).encode() for n in span
    ]


def tell(path: Path, shard: Shard, **changes: Any) -> None:  # noqa: ANN401 - of many types
    span = shard.span(TOTAL)
    told = {"step": "s", "run": "ab", "span": span, "total": TOTAL, "failed": 0}
    shard_record.tell(path, shard, **(told | changes))


def write_shards(whole: Path) -> list[Path]:
    paths = []
    for number in range(1, OF + 1):
        shard = Shard(number, OF)
        paths.append(shard.path(whole))
        detections.write(paths[-1], HEADER, documents(shard.span(TOTAL)))
        tell(paths[-1], shard)
    return paths


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return tmp_path / "o.json"


def refusal(whole: Path) -> str:
    with pytest.raises((ConfigurationError, ArtifactError)) as refused:
        merging.merge(whole)
    assert not whole.exists()
    return str(refused.value)


def test_shards_are_joined_in_order(whole: Path) -> None:
    sources = write_shards(whole)
    (merged,) = merging.merge(whole)
    assert (merged.shards, merged.items, merged.failed) == (OF, TOTAL, 0)
    expected = whole.with_name("expected.json")
    detections.write(expected, HEADER, documents(range(TOTAL)))
    assert whole.read_bytes() == expected.read_bytes()
    merging.remove(merged.sources)
    assert not any(path.exists() for path in sources)
    assert sorted(whole.parent.iterdir()) == [expected, whole]


def test_journals_of_attempts_are_removed_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / "o[1].json"
    kept = [output, Shard(1, 3).path(output), tmp_path / "o1.shard-001-of-002.json"]
    source = Shard(2, 2).path(output)
    for end in ("", ".shard.json", ".info.json", ".journal", ".attempt-2.journal"):
        source.with_name(f"{source.name}{end}").touch()
    for path in kept:
        path.touch()
    merging.remove([source])
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_missing_and_incomplete_shards_are_named(whole: Path) -> None:
    one, two, three, four = write_shards(whole)
    one.unlink()
    two.unlink()
    three.write_bytes(three.read_bytes() + b" ")
    assert refusal(whole) == (
        f"of 4 shards of {whole}, 1-2 missing, 3 not complete; run them again, each "
        "goes on where it was"
    )
    shard_record.path_beside(four).unlink()
    assert "1-2 missing, 3-4 not complete" in refusal(whole)


def test_no_shards_and_shards_of_two_numbers(whole: Path) -> None:
    assert refusal(whole) == f"no shards of {whole}; --shard I/N writes them"
    write_shards(whole)
    Shard(1, 3).path(whole).touch()
    assert refusal(whole) == (
        "o.shard-001-of-003.json and o.shard-001-of-004.json are of different numbers of "
        "shards; remove those of one"
    )
    (merged,) = merging.merge(whole, of=OF)
    assert merged.items == TOTAL


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run": "cd"}, "is of other inputs or options than "),
        ({"step": "t"}, "is of other inputs or options than "),
        ({"total": 11}, "is of other inputs or options than "),
        ({"span": range(4, 5)}, "begins at item 4, the shard before ends at 5"),
        ({"span": range(5, 6)}, "begins at item 7, the shard before ends at 6"),
    ],
)
def test_shards_that_are_not_of_one_run(
    whole: Path, changes: dict[str, Any], said: str
) -> None:
    sources = write_shards(whole)
    tell(sources[2], Shard(3, OF), **changes)
    assert said in refusal(whole)


def test_a_last_shard_that_is_too_short(whole: Path) -> None:
    sources = write_shards(whole)
    tell(sources[3], Shard(4, OF), span=range(7, 9))
    assert refusal(whole).endswith("ends at item 9 of 10: a shard is too short")


def test_a_shard_in_the_place_of_another(whole: Path) -> None:
    one, two, *_ = write_shards(whole)
    two.write_bytes(one.read_bytes())
    record = shard_record.path_beside(one).read_bytes()
    shard_record.path_beside(two).write_bytes(record)
    assert refusal(whole) == f"{two} is shard 1/4, not what its name says"


def test_an_image_in_two_shards(whole: Path) -> None:
    one, two, *_ = write_shards(whole)
    detections.write(two, HEADER, documents(range(3)))
    tell(two, Shard(2, OF))
    assert refusal(whole) == f"{two}: '0000.jpg' stands in {one} already"


def test_shards_of_other_categories(whole: Path) -> None:
    one, two, *_ = write_shards(whole)
    other = Header(detection_categories={"1": "beast"}, info=HEADER.info)
    detections.write(two, other, documents(Shard(2, OF).span(TOTAL)))
    tell(two, Shard(2, OF))
    assert refusal(whole) == f"{two}: info or categories differ from those of {one}"


def test_a_broken_record_is_named(whole: Path) -> None:
    one, *_ = write_shards(whole)
    path = shard_record.path_beside(one)
    path.write_text("{")
    assert refusal(whole).startswith(f"{path}: not JSON")


def test_a_folder_that_cannot_be_listed(whole: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot list .*none: "):
        merging.merge(whole.parent / "none" / "o.json")


# Classifier outputs


def rows(span: range) -> tuple[list[str], NDArray[np.float32]]:
    numbers = np.random.default_rng(0).random((TOTAL, 3), np.float32)
    return [f"{n:04}.jpg" for n in span], numbers[span.start : span.stop]


def boxes(span: range) -> NDArray[np.uint8]:
    return np.repeat(np.array(span, np.uint8)[:, None] + 1, 8, axis=1)


def write_outputs(
    whole: Path, told: Callable[[int], Applied | None] = lambda _: APPLIED
) -> list[Path]:
    paths = []
    for number in range(1, OF + 1):
        shard = Shard(number, OF)
        paths.append(shard.path(whole))
        span = shard.span(TOTAL)
        predictions.write(paths[-1], ("a", "b", "c"), [rows(span)] if span else [])
        known = boxes(span) if number % 2 else None
        predictions_info.tell(paths[-1], Origin(told(number), known))
        tell(paths[-1], shard)
    return paths


@pytest.mark.parametrize("name", ["o.csv", "o.csv.gz"])
@pytest.mark.parametrize("total", [10, 2])
def test_rows_are_joined_with_what_is_told_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, total: int
) -> None:
    monkeypatch.setattr(f"{__name__}.TOTAL", total)
    whole, expected = tmp_path / name, tmp_path / "expected" / name
    write_outputs(whole)
    merging.merge(whole)
    predictions.write(expected, ("a", "b", "c"), [rows(range(total))])
    known = boxes(range(total))
    for number in (2, 4):  # which nothing is known of
        span = Shard(number, OF).span(total)
        known[span.start : span.stop] = 0
    predictions_info.tell(expected, Origin(APPLIED, known))
    assert whole.read_bytes() == expected.read_bytes()
    infos = [
        predictions_info.path_beside(path).read_bytes() for path in (whole, expected)
    ]
    assert infos[0] == infos[1]


def test_packed_rows_are_the_same_bytes_however_they_are_divided(
    tmp_path: Path,
) -> None:
    rng, names = np.random.default_rng(0), [str(n) for n in range(50)]
    numbers = rng.dirichlet(np.ones(50), 12_000).astype(np.float32)
    crops = [f"{n:05}.jpg" for n in range(len(numbers))]

    def write(path: Path, span: range) -> Path:
        begins = range(span.start, span.stop, 16)
        batches = ((crops[n : n + 16], numbers[n : n + 16]) for n in begins)
        predictions.write(path, names, batches)
        return path

    shards = [Shard(number, 3) for number in (1, 2, 3)]
    parts = [
        write(tmp_path / f"{shard.number}.csv.gz", shard.span(12_000, batch_size=16))
        for shard in shards
    ]
    predictions.join(tmp_path / "joined.csv.gz", parts)
    whole = write(tmp_path / "whole.csv.gz", range(12_000))
    assert (tmp_path / "joined.csv.gz").read_bytes() == whole.read_bytes()


def test_rows_of_different_calibrations(tmp_path: Path) -> None:
    whole = tmp_path / "o.csv"
    sources = write_outputs(whole, lambda number: APPLIED if number < OF else None)
    assert refusal(whole) == f"{sources[3]} is calibrated otherwise than {sources[0]}"


def test_rows_of_other_categories_and_a_crop_in_two(tmp_path: Path) -> None:
    whole = tmp_path / "o.csv"
    one, two, *_ = write_outputs(whole, lambda _: None)
    predictions.write(two, ("a", "b", "c"), [rows(range(1))])
    tell(two, Shard(2, OF))
    assert refusal(whole) == f"{two}: '0000.jpg' stands in {one} already"
    predictions.write(two, ("a", "b", "d"), [rows(range(2, 5))])
    tell(two, Shard(2, OF))
    said = f"{two}: other columns than path and the categories of {one}"
    assert refusal(whole) == said


def test_a_cache_without_records(tmp_path: Path) -> None:
    (tmp_path / "shard-001-of-001").mkdir()
    with pytest.raises(ConfigurationError, match="hold nothing to merge"):
        merging.merge(tmp_path)
    (tmp_path / "shard-001-of-001").rmdir()
    with pytest.raises(ConfigurationError, match="no shards of"):
        merging.merge(tmp_path)
