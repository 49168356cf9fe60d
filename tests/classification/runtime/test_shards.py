from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.runtime import shards
from classification.runtime.shards import Shard


@given(
    items=st.integers(0, 5000),
    of=st.integers(1, 60),
    batch_size=st.integers(1, 300),
)
def test_shards_are_all_items_in_order_in_whole_batches(
    items: int, of: int, batch_size: int
) -> None:
    spans = [
        Shard(number, of).span(items, batch_size=batch_size)
        for number in range(1, of + 1)
    ]
    assert [place for span in spans for place in span] == list(range(items))
    assert all(span.start % batch_size == 0 for span in spans if span)
    batches = [-(-len(span) // batch_size) for span in spans]
    assert max(batches) - min(batches) <= 1


def test_without_a_shard_all_items_are_meant() -> None:
    assert shards.span_of(None, 7, batch_size=4) == range(7)
    assert shards.span_of(Shard(2, 2), 7, batch_size=4) == range(4, 7)
    assert len(shards.span_of(Shard(5, 9), 3)) == 0


@pytest.mark.parametrize(
    ("whole", "name"),
    [
        ("detections.json", "detections.shard-003-of-010.json"),
        ("out.v2.csv.gz", "out.v2.shard-003-of-010.csv.gz"),
        ("out.csv", "out.shard-003-of-010.csv"),
        (".csv.gz", ".shard-003-of-010.csv.gz"),
        ("detect_and_crop", "detect_and_crop.shard-003-of-010"),
        (".hidden", ".hidden.shard-003-of-010"),
    ],
)
def test_a_name_tells_the_shard(whole: str, name: str) -> None:
    assert Shard(3, 10).path(Path("a.b") / whole) == Path("a.b") / name
    assert shards.numbers_of(name, whole) == (3, 10)


@given(of=st.integers(1, 999_999), data=st.data())
def test_what_a_name_tells_is_read_back(of: int, data: st.DataObject) -> None:
    shard = Shard(data.draw(st.integers(1, of)), of)
    name = shard.path(Path("detections.json")).name
    assert shards.numbers_of(name, "detections.json") == (shard.number, of)
    assert shards.numbers_of(shard.mark, "") == (shard.number, of)


@pytest.mark.parametrize(
    "name",
    [
        "detections.json",
        "detections.shard-003-of-010.csv",
        "other.shard-003-of-010.json",
        "detections.shard-3-of-10.json",
        "detections.shard-003-of-010.json.shard.json",
        "detections.shard-003-of-010.json.journal",
    ],
)
def test_other_names_are_of_no_shard(name: str) -> None:
    assert shards.numbers_of(name, "detections.json") is None


def test_each_attempt_has_a_journal_of_its_own() -> None:
    path = Path("a/o.json")
    assert shards.journal_of(path, None) == Path("a/o.json.journal")
    assert shards.journal_of(path, Shard(1, 2)) == Path("a/o.json.journal")
    again = shards.parse("1/2:3")
    assert again == Shard(1, 2, 3)
    assert str(again) == "1/2"
    assert shards.journal_of(path, again) == Path("a/o.json.attempt-3.journal")


def test_a_shard_is_parsed() -> None:
    assert shards.parse("1/1") == Shard(1, 1)
    assert shards.parse("010/10") == Shard(10, 10)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3", "'3' is not I/N, such as 3/10"),
        ("", "'' is not I/N, such as 3/10"),
        ("-1/4", "'-1/4' is not I/N, such as 3/10"),
        ("1/4:0", "'1/4:0' is not I/N, such as 3/10"),
        (
            "0/10",
            "0/10: shards count from 1 to 10; where a job array counts from 0, add 1, ",
        ),
        ("11/10", "11/10: shards count from 1 to 10; "),
        ("1/0", "1/0: shards count from 1 to 0; "),
    ],
)
def test_what_is_no_shard_is_refused(text: str, reason: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refusal:
        shards.parse(text)
    assert str(refusal.value).startswith(reason)
