from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts import _names, layout
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = st.lists(
    st.text("ab./\\:\n\0", max_size=6) | st.sampled_from(["a/b.jpg", "c.jpg"])
)


def first_unsafe(names: Sequence[str]) -> int | None:
    for position, name in enumerate(names):
        try:
            layout.checked_name(name)
        except ArtifactError:
            return position
    return None


@given(NAMES)
def test_the_fast_check_finds_what_the_slow_one_finds(names: list[str]) -> None:
    assert _names.find_unsafe(names) == first_unsafe(names)


@pytest.mark.parametrize("name", ["", "/a", "a/", "..", "a/..", "C:x", "a\\b", "a\0"])
def test_an_unsafe_name_is_found_among_safe_ones(name: str) -> None:
    assert _names.find_unsafe(["a.jpg", "bb:c..jpg", name, "d.jpg"]) == 2


@given(st.lists(st.lists(st.sampled_from("abcdefgh"))))
def test_repeated_names_are_noticed_across_blocks(blocks: list[list[str]]) -> None:
    seen = _names.SeenNames()
    for block in blocks:
        seen.add(block)
    every = [name for block in blocks for name in block]
    repeated = {hash(name) for name in every if every.count(name) > 1}
    assert seen.repeated_hashes() == repeated
