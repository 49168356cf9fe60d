from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.combining import Combined, Fate, Result, align, combine

RESULTS = st.lists(
    st.builds(
        Result,
        st.sampled_from("abcd"),
        st.booleans(),
        st.binary(max_size=2),
        st.just(False),
    ),
    max_size=8,
).map(lambda results: sorted(results, key=lambda result: result.file))
CATEGORIES = st.dictionaries(
    st.integers(0, 9).map(str), st.sampled_from(["animal", "person", "car", "group"])
)


def result(file: str, *, failed: bool = False, new: bool = False) -> Result:
    return Result(file, failed, b"new" if new else b"old", new)


OLD, NEW = result("a"), result("a", new=True)
OLD_FAILED = result("a", failed=True)
NEW_FAILED = result("a", failed=True, new=True)
SAME = OLD_FAILED._replace(is_new=True)


@pytest.mark.parametrize(
    ("older", "newer", "expected", "expected_if_newer_wins"),
    [
        ([OLD], [], (OLD, Fate.UNTOUCHED, 0), (OLD, Fate.UNTOUCHED, 0)),
        ([], [NEW], (NEW, Fate.ADDED, 0), (NEW, Fate.ADDED, 0)),
        ([OLD], [NEW], (OLD, Fate.KEPT, 0), (NEW, Fate.REPLACED, 0)),
        ([OLD], [NEW_FAILED], (OLD, Fate.KEPT, 0), (OLD, Fate.KEPT, 0)),
        (
            [OLD_FAILED],
            [NEW_FAILED],
            (NEW_FAILED, Fate.REPLACED, 0),
            (NEW_FAILED, Fate.REPLACED, 0),
        ),
        ([OLD_FAILED], [SAME], (SAME, Fate.KEPT, 0), (SAME, Fate.KEPT, 0)),
        (
            [],
            [NEW_FAILED, NEW, NEW],
            (NEW, Fate.ADDED, 2),
            (NEW, Fate.ADDED, 2),
        ),
        (
            [OLD_FAILED, OLD],
            [],
            (OLD, Fate.UNTOUCHED, 0),
            (OLD, Fate.UNTOUCHED, 0),
        ),
    ],
)
def test_one_image(
    older: list[Result],
    newer: list[Result],
    expected: Combined,
    expected_if_newer_wins: Combined,
) -> None:
    assert list(combine(older, newer)) == [expected]
    assert list(combine(older, newer, newer_wins=True)) == [expected_if_newer_wins]


def test_of_two_that_say_the_same_the_newer_is_taken() -> None:
    again = OLD._replace(is_new=True)
    assert list(combine([OLD], [again])) == [(again, Fate.KEPT, 0)]


def test_d14_a_later_success_replaces_a_failure() -> None:
    for newer_wins in (False, True):
        (combined,) = combine([OLD_FAILED], [NEW], newer_wins=newer_wins)
        assert combined == (NEW, Fate.REPLACED, 0)


@given(older=RESULTS, newer=RESULTS, newer_wins=st.booleans())
def test_each_image_once_in_order_the_stronger_sides_success_or_the_newest_failure(
    older: list[Result], newer: list[Result], newer_wins: bool
) -> None:
    newer = [one._replace(is_new=True) for one in newer]
    ranked = newer + older if newer_wins else older + newer
    expected = []
    for file in sorted({one.file for one in ranked}):
        successes = [one for one in ranked if one.file == file and not one.failed]
        failures = [one for one in newer + older if one.file == file]
        expected.append((successes or failures)[0])
    combined = list(combine(older, newer, newer_wins=newer_wins))
    assert [one.result[:3] for one in combined] == [one[:3] for one in expected]
    touched = sum(one.fate is not Fate.UNTOUCHED for one in combined)
    assert touched + sum(one.repeated for one in combined) == len(newer)


@pytest.mark.parametrize(
    ("known", "new", "names", "id_by_new_id"),
    [
        (
            {},
            {"1": "animal", "3": "car"},
            {"1": "animal", "3": "car"},
            {"1": "1", "3": "3"},
        ),
        (
            {"1": "animal", "2": "person"},
            {"1": "person", "2": "animal"},
            {"1": "animal", "2": "person"},
            {"1": "2", "2": "1"},
        ),
        (
            {"1": "animal", "3": "group"},
            {"3": "car", "4": "person"},
            {"1": "animal", "3": "group", "5": "car", "4": "person"},
            {"3": "5", "4": "4"},
        ),
        (
            {"1": "animal", "2": "animal"},
            {"2": "animal", "7": "animal"},
            {"1": "animal", "2": "animal"},
            {"2": "2", "7": "1"},
        ),
    ],
)
def test_categories_join_by_name(
    known: dict[str, str],
    new: dict[str, str],
    names: dict[str, str],
    id_by_new_id: dict[str, str],
) -> None:
    assert align(known, new) == (names, id_by_new_id)


@given(known=CATEGORIES, new=CATEGORIES)
def test_d29_every_category_keeps_its_name_and_known_ones_their_id(
    known: dict[str, str], new: dict[str, str]
) -> None:
    names, id_by_new_id = align(known, new)
    assert {id_: names[id_] for id_ in known} == known
    assert {new_id: names[id_] for new_id, id_ in id_by_new_id.items()} == new
    assert set(names) == {*known, *id_by_new_id.values()}
    assert align(names, new)[0] == names
