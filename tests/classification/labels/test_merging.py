from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts.predictions import Predictions
from classification.labels.merging import (
    Classifier,
    Place,
    Rule,
    dataset_of,
    with_categories,
)
from classification.runtime.errors import ArtifactError, ConfigurationError

NAMES = ("bear", "deer")


def batch(labels: list[str] | None = None) -> Predictions[np.float64]:
    return Predictions(["x"], np.array([[0.5, 0.3, 0.2]]), labels)


def test_columns_are_matched_by_name() -> None:
    columns = ("emu", "deer", "bear")
    classifier = Classifier.match(NAMES, columns, has_label=False, rule=Rule())
    assert classifier.columns == (2, 1)
    assert classifier.unused(columns) == ["emu"]
    told = classifier.tell(batch(), Rule(), first_row=2)
    assert told == [[(1, 0.3), (0, 0.2)]]
    assert classifier.categories() == {"0": "bear", "1": "deer"}


@pytest.mark.parametrize(
    ("threshold", "least", "told"),
    [
        (0.1, {"bear": 0.5, "deer": 0.3}, [(0, 0.5), (1, 0.3)]),
        (0.1, {"bear": 0.51, "deer": 0.3}, [(1, 0.3)]),
        (0.4, {"bear": 0.2, "deer": 0.2}, [(0, 0.5)]),
        (0.0, {"deer": 0.0}, [(1, 0.3)]),
        (0.0, {}, []),
    ],
)
def test_a_category_must_reach_its_own_threshold_too(
    threshold: float, least: dict[str, float], told: list[tuple[int, float]]
) -> None:
    rule = Rule(threshold=threshold, least=least)
    classifier = Classifier.match(
        NAMES, ("bear", "deer", "x"), has_label=False, rule=rule
    )
    assert classifier.tell(batch(), rule, first_row=2) == [told]


def test_the_true_label_has_an_id_of_its_own() -> None:
    rule = Rule(truth=Place.LAST)
    classifier = Classifier.match(NAMES, NAMES, has_label=True, rule=rule)
    told = classifier.tell(batch(["deer"]), rule, first_row=2)
    assert told == [[(0, 0.5), (1, 0.3), (1_000_001, 1.0)]]
    assert classifier.categories()["1000001"] == "label: deer"


def test_true_labels_need_no_columns() -> None:
    rule = Rule(truth=Place.FIRST)
    classifier = Classifier.match(NAMES, (), has_label=True, rule=rule)
    assert classifier.tell(batch(["bear"]), rule, first_row=2) == [[(1_000_000, 1.0)]]


@pytest.mark.parametrize(
    ("columns", "has_label", "rule", "message"),
    [
        (["bear"], True, Rule(truth=Place.LAST), "no column for the category 'deer'"),
        ([], True, Rule(), "no column for the category 'bear', 'deer'"),
        (
            NAMES,
            False,
            Rule(relative=True),
            "--relative-conf needs the column label; there is none",
        ),
        (
            NAMES,
            False,
            Rule(truth=Place.FIRST),
            "--label needs the column label; there is none",
        ),
    ],
)
def test_what_the_rule_needs_must_be_there(
    columns: list[str], has_label: bool, rule: Rule, message: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Classifier.match(NAMES, columns, has_label=has_label, rule=rule)
    assert str(refused.value) == message


def test_an_unknown_label_is_refused_with_its_row() -> None:
    classifier = Classifier.match(NAMES, NAMES, has_label=True, rule=Rule())
    with pytest.raises(ArtifactError) as refused:
        classifier.tell(batch(["emu"]), Rule(), first_row=17)
    assert str(refused.value) == "row 17, column label: 'emu' is none of the categories"


@given(
    names=st.sets(st.sampled_from(["animal", "group", "person", "egg"])),
    known=st.dictionaries(
        st.integers(0, 9).map(str), st.sampled_from(["animal", "person"])
    ),
)
def test_new_categories_take_free_ids(names: set[str], known: dict[str, str]) -> None:
    every = with_categories(known, names)
    assert known.items() <= every.items()
    assert names <= set(every.values())
    added = [id_ for id_ in every if id_ not in known]
    assert [every[id_] for id_ in added] == sorted(names - set(known.values()))


@pytest.mark.parametrize(
    ("image", "dataset"), [("a/b/c.jpg", "a"), ("c.jpg", ""), ("a-b/c.jpg", "a-b")]
)
def test_the_dataset_is_the_first_folder(image: str, dataset: str) -> None:
    assert dataset_of(image) == dataset
