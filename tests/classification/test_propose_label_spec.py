"""A label specification is proposed from the command line, and json_validator takes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from classification import json_validator
from classification.artifacts import image_counts, label_spec, location_counts
from classification.propose_label_spec import main
from tests.world import DEER_AND_BIRDS, label_row, write_store, write_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
HUMAN = label_row("idfg|human", "species homo sapiens", "class mammalia", number=10)


def images(label: str, count: int, locations: int) -> list[dict[str, object]]:
    return [
        {
            "file": f"{label}/{number:03}.jpg",
            "labels": [label],
            "location": str(number % locations),
        }
        for number in range(count)
    ]


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_taxonomy(tmp_path / "taxonomy.csv", [*DEER_AND_BIRDS, HUMAN])
    both = {"file": "zz.jpg", "labels": ["deer", "elk"], "location": "0"}
    text = {"file": "zzz.txt", "labels": ["elk"], "location": "0"}
    idfg = [
        *images("#ref!", 5, 1),
        *images("bird", 4, 2),
        *images("deer", 12, 3),
        *images("elk", 11, 4),
        *images("human", 30, 1),
        *images("unheard of", 3, 1),
        *(both, text),
    ]
    store = {"Idfg": idfg, "caltech": images("moose", 3, 2)}
    write_store(tmp_path / "megadb", store)
    return tmp_path


WORDS = ("taxonomy.csv", "--megadb", "megadb", "--min-images", "10")


@pytest.mark.usefixtures("base")
def test_labels_images_and_locations_are_printed(capsys: Capture) -> None:
    assert main([*WORDS]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "label                       images  locations",
        "family: cervidae (other)        15          5",
        "species: cervus canadensis      11          4",
    ]
    assert captured.err == (
        "2 labels of 26 images; left out: 4 of taxa with too few, 30 excluded, 5 of "
        "labels that mean no taxon, 3 of labels that the taxonomy does not have\n"
    )


def test_json_validator_takes_what_is_proposed(base: Path, capsys: Capture) -> None:
    assert main([*WORDS, "--output", "run/label_spec.json"]) == 0
    table = [line.rsplit(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert json_validator.main(
        ["run/label_spec.json", "taxonomy.csv", "--megadb", "megadb", "-o", "run"]
    ) == 0  # fmt: skip
    taken = image_counts.read(base / "run" / image_counts.SAMPLED_FILENAME)
    assert taken == {label: int(count) for label, count, _ in table[1:]}
    counted = list(location_counts.read(base / "run" / location_counts.FILENAME))
    for label, _, locations in table[1:]:
        assert sum(row.label == label for row in counted) == int(locations)


def test_running_again_gives_the_same_bytes(base: Path) -> None:
    assert main([*WORDS, "-o", "a.json", "--max-count", "5"]) == 0
    assert main([*WORDS, "-o", "b.json", "--max-count", "5"]) == 0
    assert (base / "a.json").read_bytes() == (base / "b.json").read_bytes()
    specs = label_spec.read(base / "a.json")
    assert {spec.max_count for spec in specs.values()} == {5}


def test_people_can_be_let_in(base: Path, capsys: Capture) -> None:
    assert main([*WORDS, "--no-max-count", "-o", "a.json", "--exclude"]) == 0
    rows = [line.rsplit(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["species: homo sapiens", "30", "1"] in rows
    document = json.loads((base / "a.json").read_bytes())
    assert all("max_count" not in spec for spec in document.values())


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--min-images", "99"), "no taxon has 99 images"),
        (("--exclude", "genus: nothing"), "the taxonomy has no taxon 'genus: nothing'"),
    ],
)
def test_what_cannot_be_proposed_is_one_line(
    words: tuple[str, ...], message: str, capsys: Capture
) -> None:
    assert main([*WORDS, *words]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.usefixtures("base")
def test_a_metadata_store_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.delenv("CAMERATRAPS_MEGADB", raising=False)
    with pytest.raises(SystemExit):
        main(["taxonomy.csv"])
    assert "--megadb DIR is needed" in capsys.readouterr().err
