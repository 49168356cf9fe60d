from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from classification.runtime.name_set import NameSet


@given(st.sets(st.text(min_size=1), max_size=20), st.text(min_size=1))
def test_it_answers_as_a_set_does(names: set[str], other: str) -> None:
    kept = NameSet(names)
    assert len(kept) == len(names)
    assert all(name in kept for name in names)
    assert (other in kept) is (other in names)


def test_an_empty_set_holds_nothing() -> None:
    assert "a" not in NameSet()
    assert len(NameSet()) == 0


def test_names_can_be_added_after_others_were_looked_up() -> None:
    kept = NameSet(["b"])
    assert "a" not in kept
    kept.add("a")
    assert "a" in kept
    assert "b" in kept
    assert len(kept) == 2


def test_a_set_without_some_names() -> None:
    names = NameSet(["a", "b", "c"]).without(["b", "z"])
    assert len(names) == 2
    assert "a" in names
    assert "c" in names
    assert "b" not in names
