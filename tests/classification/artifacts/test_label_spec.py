from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import label_spec
from classification.artifacts.label_spec import LabelSpec, Selection, TaxonEntry
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

AVES = {"level": "class", "name": "aves"}


def test_reads_every_key() -> None:
    document = {
        "cervid": {
            "taxa": [
                {
                    "level": "family",
                    "name": "Cervidae",
                    "kingdom": "animalia",
                    "datasets": ["IDFG"],
                }
            ],
            "dataset_labels": {"idfg": ["elk"]},
            "exclude": {"dataset_labels": {"idfg": ["prong"]}},
            "max_count": 5,
            "prioritize": [["a"], ["b", "c"]],
        }
    }
    entry = TaxonEntry(
        level="family", name="Cervidae", kingdom="animalia", datasets=("IDFG",)
    )
    assert label_spec.from_dict(document) == {
        "cervid": LabelSpec(
            include=Selection(dataset_labels={"idfg": ("elk",)}, taxa=(entry,)),
            exclude=Selection(dataset_labels={"idfg": ("prong",)}),
            max_count=5,
            prioritize=(("a",), ("b", "c")),
        )
    }
    assert label_spec.to_dict(label_spec.from_dict(document)) == document


def test_keys_are_written_in_a_fixed_order(tmp_path: Path) -> None:
    document = {
        "b": {
            "max_count": 5,
            "taxa": [AVES],
            "exclude": {"taxa": [AVES]},
            "prioritize": [["x"]],
            "dataset_labels": {"d": ["l"]},
        },
        "a": {"taxa": [AVES]},
    }
    path = tmp_path / "spec.json"
    label_spec.write(path, label_spec.from_dict(document))
    written = path.read_text()
    assert written.count("\n") == 1
    assert list(json.loads(written)) == ["b", "a"]
    assert list(json.loads(written)["b"]) == [
        "dataset_labels",
        "taxa",
        "exclude",
        "max_count",
        "prioritize",
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (7, "bear: expected an object"),
        ({}, "bear: selects nothing; give it taxa or dataset_labels"),
        ({"taxa": []}, "bear: selects nothing; give it taxa or dataset_labels"),
        (
            {"dataset_labels": {"d": []}},
            "bear: selects nothing; give it taxa or dataset_labels",
        ),
        (
            {"taxon": []},
            "bear.taxon: unknown key; known are dataset_labels, taxa, exclude, max_count, prioritize",
        ),
        ({"taxa": AVES}, "bear.taxa: expected a list"),
        ({"taxa": ["aves"]}, "bear.taxa[0]: expected an object"),
        ({"taxa": [{"level": "class"}]}, "bear.taxa[0]: name is missing"),
        (
            {"taxa": [AVES, {"level": 1, "name": "x"}]},
            "bear.taxa[1].level: expected a name",
        ),
        ({"taxa": [AVES | {"kingdom": " "}]}, "bear.taxa[0].kingdom: expected a name"),
        (
            {"taxa": [AVES | {"datasets": "idfg"}]},
            "bear.taxa[0].datasets: expected a list of names",
        ),
        (
            {"taxa": [AVES | {"datasets": []}]},
            "bear.taxa[0].datasets: expected at least one dataset; leave the key out to mean all",
        ),
        (
            {"taxa": [AVES | {"dataset": "idfg"}]},
            "bear.taxa[0].dataset: unknown key; known are level, name, kingdom, datasets",
        ),
        (
            {"dataset_labels": ["elk"]},
            "bear.dataset_labels: expected an object: dataset -> list of its labels",
        ),
        (
            {"dataset_labels": {"idfg": "elk"}},
            "bear.dataset_labels.idfg: expected a list of names",
        ),
        (
            {"dataset_labels": {"idfg": ["elk", None]}},
            "bear.dataset_labels.idfg[1]: expected a name",
        ),
        (
            {"dataset_labels": {"": ["elk"]}},
            "bear.dataset_labels: expected a name",
        ),
        (
            {"taxa": [AVES], "exclude": {}},
            "bear.exclude: selects nothing; give it taxa or dataset_labels",
        ),
        (
            {"taxa": [AVES], "exclude": {"max_count": 1}},
            "bear.exclude.max_count: unknown key; known are dataset_labels, taxa",
        ),
        (
            {"taxa": [AVES], "max_count": True},
            "bear.max_count: expected a whole number",
        ),
        ({"taxa": [AVES], "max_count": 0}, "bear.max_count: expected a number above 0"),
        (
            {"taxa": [AVES], "prioritize": [["a"]]},
            "bear.prioritize: needs max_count",
        ),
        (
            {"taxa": [AVES], "max_count": 1, "prioritize": "a"},
            "bear.prioritize: expected a list of lists of datasets",
        ),
        (
            {"taxa": [AVES], "max_count": 1, "prioritize": ["a"]},
            "bear.prioritize[0]: expected a list of names",
        ),
    ],
)
def test_refuses_with_the_address(spec: object, message: str) -> None:
    with pytest.raises(ArtifactError) as refusal:
        label_spec.from_dict({"bear": spec})
    assert str(refusal.value) == message


def test_refuses_no_label_and_no_name() -> None:
    with pytest.raises(ArtifactError, match=r"^expected at least one label$"):
        label_spec.from_dict({})
    with pytest.raises(ArtifactError, match=r"^a label without a name$"):
        label_spec.from_dict({"": {"taxa": [AVES]}})


def test_a_label_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"a": {"taxa": []}, "a": {}}')
    with pytest.raises(ArtifactError) as refusal:
        label_spec.read(path)
    assert str(refusal.value) == f"{path}: a: key appears twice"
