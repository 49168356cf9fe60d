from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.runtime.name_list import CodedList, NameList

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
