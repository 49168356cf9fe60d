"""Which crops are shown: the same ones every time, and no more than fit."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from classification.measuring import choosing

COUNTS = st.lists(st.integers(0, 30), max_size=12)


def test_draws_do_not_depend_on_what_else_there_is() -> None:
    names = [f"{i}.jpg" for i in range(100)]
    places = np.arange(100)
    drawn = choosing.draw(names, places, 10, 0)
    assert len(drawn) == 10
    assert drawn.tolist() == sorted(drawn.tolist())
    turned = choosing.draw(names[::-1], places, 10, 0)
    assert {names[i] for i in drawn} == {names[::-1][i] for i in turned}
    assert drawn.tolist() != choosing.draw(names, places, 10, 1).tolist()
    fewer = choosing.draw(names, places, 5, 0)
    assert set(fewer.tolist()) < set(drawn.tolist())


def test_draws_all_where_there_are_few() -> None:
    assert choosing.draw(["b", "a"], np.array([1, 0]), 5, 0).tolist() == [0, 1]


@given(COUNTS, st.integers(0, 200), st.integers(0, 20))
def test_shares_are_fair(counts: list[int], budget: int, most: int) -> None:
    there = np.array(counts, np.int64)
    shares = choosing.fair_shares(there, budget, most)
    assert (shares <= np.minimum(there, most)).all()
    assert shares.sum() == min(budget, int(np.minimum(there, most).sum()))
    held_back = shares < np.minimum(there, most)
    if held_back.any():
        assert shares.max() <= shares[held_back].min() + 1


def test_what_is_left_goes_to_the_largest() -> None:
    shares = choosing.fair_shares(np.array([3, 9, 5]), 5, 10)
    assert shares.tolist() == [1, 2, 2]


def test_the_surest_errors_come_first() -> None:
    confidence = np.array([0.5, 0.9, 0.7, 0.9], np.float32)
    right = np.array([False, True, False, False])
    assert choosing.surest_errors(confidence, right, 2).tolist() == [3, 2]
