from __future__ import annotations

import pytest

from classification.artifacts.label_spec import from_dict
from classification.labels.wanted import (
    Vocabulary,
    Wanted,
    check_disjoint,
    entries_without,
    find_wanted,
    idle_exclusions,
    labels_by_pair,
    nearest,
)
from classification.runtime.errors import ArtifactError
from taxonomy.graph import DatasetLabel, build_graph
from tests.world import DEER_AND_BIRDS, label_row

TAXONOMY = build_graph(DEER_AND_BIRDS)
ALONE = Vocabulary(TAXONOMY)
STORED = Vocabulary(
    TAXONOMY,
    stored=frozenset({DatasetLabel("caltech", "moose"), DatasetLabel("own", "wapiti")}),
    datasets=frozenset({"caltech", "own"}),
)
CERVIDAE = {"level": "Family", "name": "Cervidae"}
AVES = {"level": "class", "name": "aves"}


def find(vocabulary: Vocabulary = ALONE, **labels: object) -> dict[str, Wanted]:
    return find_wanted(from_dict(labels), vocabulary)


def taken(vocabulary: Vocabulary = ALONE, **document: object) -> set[str]:
    return set(map(str, find(vocabulary, x=document)["x"].pairs))


def test_a_taxon_takes_every_dataset_label_at_or_below_it() -> None:
    assert taken(taxa=[CERVIDAE]) == {
        "idfg|deer",
        "idfg|elk",
        "caltech|moose",
        "caltech|roosevelt elk",
    }


def test_d7_datasets_limit_a_taxon_in_any_case() -> None:
    assert taken(taxa=[CERVIDAE | {"datasets": [" IDFG"]}]) == {
        "idfg|deer",
        "idfg|elk",
    }


def test_d7_dataset_labels_are_named_in_any_case() -> None:
    assert taken(dataset_labels={"CalTech": ["Moose", "EMPTY"]}) == {
        "caltech|moose",
        "caltech|empty",
    }


def test_d8_a_dataset_label_takes_itself_alone() -> None:
    assert taken(dataset_labels={"idfg": ["deer"]}) == {"idfg|deer"}


def test_exclude_takes_away() -> None:
    assert taken(
        taxa=[CERVIDAE, AVES],
        exclude={
            "taxa": [CERVIDAE | {"datasets": ["caltech"]}],
            "dataset_labels": {"idfg": ["elk"]},
        },
    ) == {"idfg|deer", "idfg|bird", "caltech|turkey"}


def test_a_dataset_label_may_stand_in_the_metadata_only() -> None:
    labels = {"own": ["wapiti"]}
    assert taken(STORED, dataset_labels=labels) == {"own|wapiti"}


def test_entries_know_their_address_and_what_they_take() -> None:
    wanted = find(
        deer={
            "taxa": [CERVIDAE],
            "exclude": {"dataset_labels": {"idfg": ["bird", "elk"]}},
        }
    )["deer"]
    assert [(entry.where, entry.name) for entry in wanted.include + wanted.exclude] == [
        ("deer.taxa[0]", "family cervidae"),
        ("deer.exclude.dataset_labels.idfg[0]", "idfg|bird"),
        ("deer.exclude.dataset_labels.idfg[1]", "idfg|elk"),
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"taxa": [{"level": "family", "name": "cervidea"}]},
            "x.taxa[0]: the taxonomy has no family cervidea; did you mean family cervidae?",
        ),
        (
            {"taxa": [CERVIDAE | {"datasets": ["idfg", "caltec"]}]},
            "x.taxa[0].datasets[1]: neither the taxonomy nor the metadata store has the dataset 'caltec'; did you mean 'caltech'?",
        ),
        (
            {"taxa": [CERVIDAE | {"datasets": ["own"]}]},
            "x.taxa[0]: matches nothing: labels of family cervidae are in the datasets 'caltech', 'idfg'",
        ),
        (
            {"dataset_labels": {"zzz": ["elk"]}},
            "x.dataset_labels.zzz: neither the taxonomy nor the metadata store has the dataset 'zzz'; there are 'caltech', 'idfg', 'own'",
        ),
        (
            {"dataset_labels": {"caltech": ["moose", "turkeys"]}},
            "x.dataset_labels.caltech[1]: neither the taxonomy nor the metadata store has the dataset label caltech|turkeys; did you mean 'turkey'?",
        ),
        (
            {"dataset_labels": {"own": ["zzz"]}},
            "x.dataset_labels.own[0]: neither the taxonomy nor the metadata store has the dataset label own|zzz; there are 'wapiti'",
        ),
        (
            {
                "taxa": [AVES],
                "exclude": {"taxa": [{"level": "genus", "name": "melagris"}]},
            },
            "x.exclude.taxa[0]: the taxonomy has no genus melagris; did you mean genus meleagris?",
        ),
        (
            {"dataset_labels": {"idfg": ["elk"]}, "exclude": {"taxa": [CERVIDAE]}},
            "x.exclude: takes away everything that the label selects",
        ),
        (
            {"taxa": [AVES], "max_count": 3, "prioritize": [["idfg"], ["own", "idgf"]]},
            "x.prioritize[1][1]: neither the taxonomy nor the metadata store has the dataset 'idgf'; did you mean 'idfg'?",
        ),
    ],
)
def test_what_is_not_there_is_named_with_what_is_like_it(
    spec: dict[str, object], message: str
) -> None:
    with pytest.raises(ArtifactError) as refusal:
        find(STORED, x=spec)
    assert str(refusal.value) == message


def test_without_a_store_the_message_says_so() -> None:
    with pytest.raises(ArtifactError) as refusal:
        find(x={"dataset_labels": {"own": ["wapiti"]}})
    assert str(refusal.value) == (
        "x.dataset_labels.own: the taxonomy lacks the dataset 'own', and there is no "
        "--megadb to look in; there are 'caltech', 'idfg'"
    )


def test_d11_a_homonym_needs_its_kingdom() -> None:
    taxonomy = build_graph(
        [
            label_row("d|dunnock", "genus prunella", "kingdom animalia"),
            label_row("d|self-heal", "genus prunella", "kingdom plantae"),
        ]
    )
    prunella = {"level": "genus", "name": "prunella"}
    with pytest.raises(ArtifactError) as refusal:
        find(Vocabulary(taxonomy), x={"taxa": [prunella]})
    assert str(refusal.value) == (
        "x.taxa[0]: genus prunella stands in several kingdoms: 'animalia', 'plantae'; "
        "name one under the key kingdom"
    )
    entry = prunella | {"kingdom": "animalia"}
    assert taken(Vocabulary(taxonomy), taxa=[entry]) == {"d|dunnock"}


def test_labels_that_share_are_both_named_with_what_they_share() -> None:
    wanted = find(
        elk={"dataset_labels": {"idfg": ["elk"]}},
        bird={"taxa": [AVES]},
        deer={"taxa": [CERVIDAE]},
    )
    with pytest.raises(ArtifactError) as refusal:
        check_disjoint(wanted)
    assert str(refusal.value) == (
        "deer: shares dataset labels with 'elk': 'idfg|elk'; exclude them from one, or "
        "give --allow-multilabel"
    )
    del wanted["deer"]
    check_disjoint(wanted)


def test_shared_labels_are_all_named() -> None:
    wanted = find(deer={"taxa": [CERVIDAE]}, cervid={"taxa": [CERVIDAE]})
    with pytest.raises(ArtifactError, match=r"'idfg\|deer', 'idfg\|elk'; exclude them"):
        check_disjoint(wanted)


def test_the_labels_of_a_pair_stand_as_in_the_specification() -> None:
    wanted = find(
        elk={"dataset_labels": {"idfg": ["elk"]}},
        deer={"taxa": [CERVIDAE | {"datasets": ["idfg"]}]},
    )
    assert labels_by_pair(wanted) == {
        DatasetLabel("idfg", "deer"): ("deer",),
        DatasetLabel("idfg", "elk"): ("elk", "deer"),
    }
    assert list(labels_by_pair(wanted)) == sorted(labels_by_pair(wanted))


def test_an_entry_without_images_is_told_with_what_is_like_it() -> None:
    wanted = find(
        deer={"taxa": [CERVIDAE, {"level": "genus", "name": "alces"}]},
        bird={"taxa": [AVES]},
    )
    present = [
        DatasetLabel("idfg", "elk"),
        DatasetLabel("caltech", "turkeys"),
        DatasetLabel("caltech", "mouse"),
        DatasetLabel("other", "birds"),
    ]
    told = [(entry.where, like) for entry, like in entries_without(wanted, present)]
    assert told == [
        ("deer.taxa[1]", "'caltech|mouse'"),
        ("bird.taxa[0]", "'caltech|turkeys'"),
    ]


def test_nearest_names_come_best_first() -> None:
    assert nearest("bobcat", {"bob", "bobcats", "cat", "bobkat"}) == [
        "bobcats",
        "bobkat",
        "cat",
    ]
    assert nearest("x", []) == []


def test_an_exclusion_that_takes_nothing_away_is_found() -> None:
    exclude = {"taxa": [AVES], "dataset_labels": {"idfg": ["elk", "#REF!"]}}
    wanted = find(deer={"taxa": [CERVIDAE], "exclude": exclude}, bird={"taxa": [AVES]})
    assert [entry.where for entry in idle_exclusions(wanted)] == [
        "deer.exclude.taxa[0]",
        "deer.exclude.dataset_labels.idfg[1]",
    ]
