from __future__ import annotations

import numpy as np

from classification.labels.outcomes import Outcome, Outcomes
from classification.labels.sampling import Quota

LABELS = [("bear",), ("deer",), ("bear", "deer")]


def outcomes(*kinds: int) -> Outcomes:
    return Outcomes(np.array(kinds, np.int32), LABELS)


def test_an_image_of_a_kind_is_taken() -> None:
    found = outcomes(0, -1, 2)
    assert found.taken.tolist() == [True, False, True]
    assert found.count(Outcome.NOT_WANTED) == 1
    assert found.kinds_taken() == [0, 2]


def test_an_image_is_taken_out_once() -> None:
    found = outcomes(0, 0, -1, 1)
    found.take_out(np.array([True, False, True, False]), Outcome.NO_IMAGE_NAME)
    found.take_out(np.array([True, True, True, False]), Outcome.NOT_THERE)
    assert found.outcome.tolist() == [
        Outcome.NO_IMAGE_NAME,
        Outcome.NOT_THERE,
        Outcome.NOT_WANTED,
        Outcome.TAKEN,
    ]


def test_an_image_of_several_labels_counts_in_each() -> None:
    counts = outcomes(0, 1, 1, 2, -1).images_by_label(["deer", "bear", "bird"])
    assert counts == {"deer": 3, "bear": 2, "bird": 0}
    assert list(counts) == ["deer", "bear", "bird"]


def test_labels_of_few_locations_go() -> None:
    found = outcomes(0, 0, 1, 1, 2, -1)
    location = np.array([1, 2, 3, 3, 4, -1], np.int32)
    assert found.require_locations(location, 2) == [("bear", "deer"), ("deer",)]
    assert found.taken.tolist() == [True, True, False, False, False, False]
    assert found.count(Outcome.TOO_FEW_LOCATIONS) == 3
    assert found.require_locations(location, 2) == []


def test_locations_are_counted_after_the_filters_before() -> None:
    found = outcomes(0, 0)
    found.take_out(np.array([True, False]), Outcome.NOT_THERE)
    assert found.require_locations(np.array([1, 2], np.int32), 2) == [("bear",)]
    assert found.outcome.tolist() == [Outcome.NOT_THERE, Outcome.TOO_FEW_LOCATIONS]


def test_what_was_taken_out_is_not_drawn() -> None:
    found = outcomes(*[0] * 10, 1, 2)
    found.take_out(np.arange(12) < 8, Outcome.NOT_THERE)
    bear = Quota("bear", frozenset({0, 2}), 3)
    found.draw([bear, Quota("deer", frozenset({1, 2}))], seed=1)
    assert np.flatnonzero(found.taken).tolist() == [8, 9, 10, 11]
    found = outcomes(*[0] * 10)
    found.draw([bear], seed=1)
    assert found.count(Outcome.TAKEN) == 3
    assert found.count(Outcome.NOT_DRAWN) == 7


def test_a_store_without_a_wanted_label_is_fine() -> None:
    found = Outcomes(np.array([-1, -1], np.int32), [])
    found.draw([Quota("bear", frozenset(), 3)], seed=1)
    assert found.require_locations(np.array([-1, -1], np.int32), 2) == []
    assert found.images_by_label(["bear"]) == {"bear": 0}
    assert found.kinds_taken() == []
