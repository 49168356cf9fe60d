"""What a wrong label still gets right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import label_spec
from classification.labels import kinship
from taxonomy.graph import build_graph
from tests.world import DEER_AND_BIRDS

if TYPE_CHECKING:
    from classification.labels.kinship import Kinship

LABELS = ("bird", "deer", "elk", "empty", "moose", "turkey", "unspecified")
SPECS = label_spec.from_dict(
    {
        "bird": {
            "taxa": [{"level": "class", "name": "aves"}],
            "exclude": {"dataset_labels": {"caltech": ["turkey"]}},
        },
        "deer": {"dataset_labels": {"idfg": ["deer"]}},
        "elk": {"taxa": [{"level": "species", "name": "cervus canadensis"}]},
        "empty": {"dataset_labels": {"caltech": ["empty"]}},
        "moose": {"dataset_labels": {"caltech": ["moose"]}},
        "turkey": {"dataset_labels": {"caltech": ["turkey"]}},
    }
)
BIRD, DEER, ELK, EMPTY, MOOSE, TURKEY, UNSPECIFIED = range(7)


@pytest.fixture(scope="module")
def related() -> Kinship:
    return kinship.relate(LABELS, SPECS, build_graph(DEER_AND_BIRDS))


def test_what_is_above_what(related: Kinship) -> None:
    pairs = {(int(i), int(j)) for i, j in np.argwhere(related.above)}
    assert pairs == {(TURKEY, BIRD), (ELK, DEER), (MOOSE, DEER)}


def test_labels_share_a_taxon_of_a_rank(related: Kinship) -> None:
    families = related.taxa["family"]
    assert families[DEER] == families[ELK] == families[MOOSE] >= 0
    assert families[BIRD] == families[EMPTY] == families[UNSPECIFIED] == -1
    classes = related.taxa["class"]
    assert classes[BIRD] == classes[TURKEY] != classes[ELK]
    species = related.taxa["species"]
    assert len({int(species[i]) for i in (ELK, MOOSE, TURKEY)}) == 3


def test_agreement_counts_those_whose_truth_is_within_the_rank(
    related: Kinship,
) -> None:
    matrix = np.zeros((7, 7), np.int64)
    matrix[ELK, MOOSE] = 3  # family, order, class, ... right
    matrix[ELK, ELK] = 1
    matrix[BIRD, TURKEY] = 4  # class right; the truth is within no family
    matrix[EMPTY, ELK] = 9  # no taxon at all
    assert related.agreement(matrix) == {
        "kingdom": 1.0,
        "phylum": 1.0,
        "class": 1.0,
        "order": 1.0,
        "family": 1.0,
        "genus": 0.25,
        "species": 0.25,
    }


def test_a_prediction_without_the_rank_does_not_agree(related: Kinship) -> None:
    matrix = np.zeros((7, 7), np.int64)
    matrix[TURKEY, BIRD] = 1
    matrix[TURKEY, EMPTY] = 1
    found = related.agreement(matrix)
    assert found["class"] == 0.5
    assert found["species"] == 0.0


def test_ranks_that_no_truth_is_within_are_left_out(related: Kinship) -> None:
    matrix = np.zeros((7, 7), np.int64)
    matrix[EMPTY, EMPTY] = 5
    assert related.agreement(matrix) == {}


def test_what_the_specifications_lack_is_said(related: Kinship) -> None:
    assert related.notes == ("no specification of 'unspecified'",)
    unknown = {"x": {"taxa": [{"level": "family", "name": "servidae"}]}}
    found = kinship.relate(
        ("x",), label_spec.from_dict(unknown), build_graph(DEER_AND_BIRDS)
    )
    assert len(found.notes) == 1
    assert "servidae" in found.notes[0]
    assert found.taxa == {}
