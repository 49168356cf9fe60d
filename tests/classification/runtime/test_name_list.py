from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.runtime import name_list
from classification.runtime.name_list import CodedList, NameIndex, NameList

NAMES = st.lists(st.text())


@given(NAMES)
@pytest.mark.parametrize("kind", [NameList, CodedList])
def test_is_a_list_of_names(kind: type[NameList | CodedList], names: list[str]) -> None:
    held = kind(names)
    assert list(held) == names
    assert len(held) == len(names)
    assert held[1:] == names[1:]
    assert held[::-2] == names[::-2]
    assert list(pickle.loads(pickle.dumps(held))) == names  # noqa: S301 - our own


@pytest.mark.parametrize("kind", [NameList, CodedList])
def test_counts_from_the_end_and_refuses_what_is_beyond(
    kind: type[NameList | CodedList],
) -> None:
    held = kind(["a", "äö", "a"])
    assert (held[-2], held[-3]) == ("äö", "a")
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            held[beyond]


def test_a_name_that_comes_again_has_its_first_code() -> None:
    held = CodedList(["b", "a", "b"])
    assert held.names == ("b", "a")
    assert held.codes.tolist() == [0, 1, 0]
    held.append("c")
    assert held[3] == "c"


@given(st.lists(st.text(max_size=3), unique=True), st.lists(st.text(max_size=3)))
def test_tells_where_names_stand(names: list[str], wanted: list[str]) -> None:
    found = NameIndex(NameList(names)).positions(wanted)
    assert found.tolist() == [
        names.index(name) if name in names else -1 for name in wanted
    ]


def test_an_equal_hash_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_list, "hash", lambda _: 7, raising=False)
    assert NameIndex(["a"]).positions(["a", "b"]).tolist() == [0, -1]
