from __future__ import annotations

import pytest

from classification.labels.wording import some_of


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["a"], "'a'"),
        (["a", "b", "c"], "'a', 'b', 'c'"),
        (["a", "b", "c", "d", "e"], "'a', 'b', 'c' and 2 more"),
    ],
)
def test_some_of_names_three(names: list[str], text: str) -> None:
    assert some_of(names) == text


def test_more_may_be_asked_for() -> None:
    assert some_of(["a", "b", "c", "d", "e"], most=4) == "'a', 'b', 'c', 'd' and 1 more"
