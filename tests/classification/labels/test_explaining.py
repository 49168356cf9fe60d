from __future__ import annotations

from dataclasses import replace

import pytest

from classification.artifacts.label_spec import from_dict
from classification.labels.explaining import Case, explain
from classification.labels.outcomes import Outcome
from classification.labels.wanted import Vocabulary, find_wanted
from taxonomy.graph import build_graph
from tests.world import DEER_AND_BIRDS

SPEC = from_dict(
    {
        "deer": {
            "taxa": [{"level": "family", "name": "cervidae"}],
            "exclude": {"dataset_labels": {"caltech": ["moose"]}},
            "max_count": 9,
        }
    }
)
WANTED = find_wanted(SPEC, Vocabulary(build_graph(DEER_AND_BIRDS)))
ELK = Case(
    name="IDFG/a.jpg",
    dataset="IDFG",
    table="row 7 of IDFG.parquet",
    labels=("elk",),
    level="image",
    location="13",
    correction=None,
    outcome=Outcome.TAKEN,
)
KNOWN = "  row 7 of IDFG.parquet: labels 'elk' (of the image), location '13'"
TAKES = "  deer.taxa[0] (family cervidae) takes idfg|elk"


def lines(case: Case) -> list[str]:
    return list(explain(case, SPEC, WANTED, min_locs=5))


def test_a_selected_image_names_the_entry_that_took_it() -> None:
    assert lines(ELK) == ["IDFG/a.jpg: selected as 'deer'", KNOWN, TAKES]


def test_an_exclusion_names_both_entries() -> None:
    moose = replace(ELK, dataset="Caltech", labels=("moose",), level=None)
    assert lines(replace(moose, location=None, outcome=Outcome.NOT_WANTED)) == [
        "IDFG/a.jpg: not selected: no label wants caltech|moose",
        "  row 7 of IDFG.parquet: labels 'moose', no location",
        "  deer.taxa[0] (family cervidae) takes caltech|moose",
        "  deer.exclude.dataset_labels.caltech[0] (caltech|moose) excludes caltech|moose",
    ]


def test_d13_a_correction_is_told() -> None:
    bird = replace(ELK, labels=("bird", "x"), correction=" Elk")
    assert lines(bird) == [
        "IDFG/a.jpg: selected as 'deer'",
        "  row 7 of IDFG.parquet: labels 'bird', 'x' (of the image), location '13'",
        "  corrected: the right label is ' Elk'",
        TAKES,
    ]
    unknown = replace(ELK, correction="", outcome=Outcome.NOT_WANTED)
    assert lines(unknown) == [
        "IDFG/a.jpg: not selected: its label is wrong, and nobody knows the right one",
        KNOWN,
        "  corrected: the right label is unknown",
    ]


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.NO_IMAGE_NAME, "its name does not end as that of an image"),
        (Outcome.NOT_THERE, "there is no such file (--check-blob-exists)"),
        (
            Outcome.TOO_FEW_LOCATIONS,
            "'deer' has fewer than 5 locations (--min-locs)",
        ),
        (
            Outcome.NOT_DRAWN,
            "it is not among the images that were drawn, 9 of 'deer' (max_count)",
        ),
    ],
)
def test_every_filter_has_its_reason(outcome: Outcome, reason: str) -> None:
    assert lines(replace(ELK, outcome=outcome)) == [
        f"IDFG/a.jpg: not selected: {reason}",
        KNOWN,
        TAKES,
    ]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ((), "it has no label"),
        (("bird", "elk"), "it has several labels, 'bird', 'elk'; one is needed"),
        (("wolf",), "no label wants idfg|wolf"),
    ],
)
def test_an_unwanted_image_has_its_reason(labels: tuple[str, ...], reason: str) -> None:
    case = replace(ELK, labels=labels, outcome=Outcome.NOT_WANTED)
    assert lines(case)[0] == f"IDFG/a.jpg: not selected: {reason}"
    named = ", ".join(map(repr, labels)) or "none"
    assert lines(case)[1:] == [
        f"  row 7 of IDFG.parquet: labels {named} (of the image), location '13'"
    ]
