"""What people bring that is broken, at the command line: said once, with its address.

What one would want to go on without is left out, counted and listed; the rest is one line
and exit code 1.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from classification import csv_to_json, import_metadata, json_validator
from classification.artifacts import (
    image_table,
    left_out,
    queried_images,
)
from classification.artifacts.left_out import LeftOut
from tests.world import DEER_AND_BIRDS, label_row, write_store, write_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]

NAME = "My Traps (Unit 2)"
SIZED = {"width": 100, "height": 50}
CATEGORIES = [
    {"id": 1, "name": "Deer, White-Tailed"},
    {"id": 2, "name": "goat/sheep"},
    {"id": "0", "name": "Empty"},
]


def image(number: int | str, **keys: object) -> dict[str, object]:
    return {"id": number, "file_name": f"{number}.jpg", **keys}


def annotation(number: int | str, category: int = 1, **keys: object) -> dict[str, Any]:
    return {"id": number, "image_id": number, "category_id": category, **keys}


class Desk:
    """Where a person tries things out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.megadb = folder / "megadb"
        self.taxonomy = write_taxonomy(folder / "taxonomy.csv", DEER_AND_BIRDS)
        self.spec = folder / "label_spec.json"
        self.run = folder / "run"

    def import_coco(self, images: list[Any], annotations: list[Any]) -> int:
        source = self.folder / "cct.json"
        document = {
            "images": images,
            "annotations": annotations,
            "categories": CATEGORIES,
        }
        source.write_text(json.dumps(document))
        places = {"--megadb": self.megadb, "--dataset": NAME, "--logdir": self.folder}
        words = [str(word) for pair in places.items() for word in pair]
        return import_metadata.main([str(source), *words])

    def query(self, spec: object = None) -> int:
        if spec is not None:
            self.spec.write_text(json.dumps(spec))
        words = [self.spec, self.taxonomy, "--megadb", self.megadb, "-o", self.run]
        return json_validator.main(list(map(str, words)))

    def rows(self) -> dict[str, dict[str, Any]]:
        table = parquet.read_table(image_table.path_of(self.megadb, NAME))
        return {row["file"]: row for row in table.to_pylist()}

    def left_out(self) -> list[LeftOut]:
        return list(left_out.read(left_out.path_of(self.megadb, NAME)))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("CAMERATRAPS_MEGADB", raising=False)
    return Desk(tmp_path)


def test_dangling_and_repeated_ids_are_listed(desk: Desk, capsys: Capture) -> None:
    repeated = {"id": 1, "file_name": "other.jpg"}
    same_file = {"id": 3, "file_name": "2.jpg"}
    images = [image(1), image(2), repeated, same_file]
    annotations = [annotation(1), annotation(1), annotation("gone", bbox=[1, 1, 2, 2])]
    assert desk.import_coco(images, annotations) == 0
    assert {file: row["labels"] for file, row in desk.rows().items()} == {
        "1.jpg": ["deer, white-tailed"],
        "2.jpg": [],
    }
    assert desk.left_out() == [
        LeftOut("image", "other.jpg", "an earlier image has this id"),
        LeftOut("image", "2.jpg", "an earlier image has this file"),
        LeftOut("label", "gone: deer, white-tailed", "no image has this id"),
        LeftOut("box", "gone", "no image has this id"),
    ]
    *_, last = capsys.readouterr().err.splitlines()
    assert "; 2 images left out, and 2 other items; log: " in last


@pytest.mark.parametrize(
    ("size", "box", "reason"),
    [
        ({}, [1, 1, 5, 5], "in pixels, but the size of its image is unknown"),
        (SIZED, [100, 0, 5, 5], "outside of its image"),
        (SIZED, [1, 1, -5, 5], "width and height are not above 0"),
        (SIZED, [1, 1, 5], "four numbers expected"),
        (SIZED, [1, 1, None, 5], "four numbers expected"),
    ],
)
def test_a_box_that_is_none_leaves_its_image_to_the_detector(
    desk: Desk, size: dict[str, int], box: list[float | None], reason: str
) -> None:
    images = [image(1, **size), image(2, **SIZED)]
    annotations = [annotation(1, bbox=box), annotation(2, bbox=[10, 10, 10, 10])]
    assert desk.import_coco(images, annotations) == 0
    boxes = {file: row["boxes"] for file, row in desk.rows().items()}
    assert boxes == {
        "1.jpg": None,
        "2.jpg": [{"category": "animal", "bbox": [0.1, 0.2, 0.1, 0.2]}],
    }
    assert desk.left_out() == [LeftOut("box", "1", reason)]


def test_a_box_over_the_edge_is_cut_and_listed(desk: Desk) -> None:
    images, annotations = [image(1, **SIZED)], [annotation(1, bbox=[75, 0, 50, 25])]
    assert desk.import_coco(images, annotations) == 0
    [box] = desk.rows()["1.jpg"]["boxes"]
    assert box["bbox"] == [0.75, 0, 0.25, 0.5]
    assert desk.left_out() == [
        LeftOut("box", "1", "reaches out of its image; cut at the edge")
    ]


def test_a_negative_size_is_listed_and_taken_as_unknown(desk: Desk) -> None:
    images = [image(1, width=-100, height=50)]
    assert desk.import_coco(images, [annotation(1)]) == 0
    assert desk.rows()["1.jpg"]["width"] is None
    reason = "no number of pixels above 0, so it is taken as unknown"
    assert desk.left_out() == [LeftOut("source", "cct.json: images[0].width", reason)]


def test_a_location_is_one_be_it_a_number_or_a_text(desk: Desk) -> None:
    locations = [13, "13", 13.0, " 13 ", "013", None]
    images = [image(n, location=where) for n, where in enumerate(locations)]
    assert desk.import_coco(images, [annotation(0)]) == 0
    assert [row["location"] for row in desk.rows().values()] == [
        *["13"] * 4,
        "013",
        None,
    ]


def test_commas_slashes_spaces_and_capitals_live_through_a_query(desk: Desk) -> None:
    annotations = [annotation(1), annotation(2, category=2), annotation(3, category=0)]
    assert desk.import_coco([image(1), image(2), image(3)], annotations) == 0
    dataset = NAME.lower()
    write_taxonomy(
        desk.taxonomy,
        [
            label_row(f"{dataset}|deer, white-tailed", "family cervidae", number=2),
            label_row(f"{dataset}|goat/sheep", "subfamily caprinae", number=3),
        ],
    )
    table = desk.folder / "spec.csv"
    table.write_text(
        "output_label,type,content\n"
        f'white tail,row,"{NAME}|Deer, White-Tailed"\n'
        f"goat/sheep,datasettaxon,{NAME.upper()}|Subfamily|Caprinae\n"
    )
    assert csv_to_json.main([str(table), str(desk.spec)]) == 0
    assert desk.query() == 0
    images = queried_images.read(desk.run / queried_images.FILENAME)
    assert {name: (one.dataset_label, one.labels) for name, one in images.items()} == {
        f"{NAME}/1.jpg": ("deer, white-tailed", ("white tail",)),
        f"{NAME}/2.jpg": ("goat/sheep", ("goat/sheep",)),
    }


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([{"file_name": "a.jpg"}], "images[0].id: a text or a whole number expected"),
        ([image(1), 7], "images[1]: an object expected"),
        ([image(1, location=[1])], "images[0].location: a text or a number expected"),
        ([image(1, width=float("nan"))], "images[0]: not JSON"),
        ([image(1, file_name=3)], "images[0].file_name: the name of a file expected"),
    ],
)
def test_what_is_no_such_file_is_one_line_and_writes_nothing(
    desk: Desk, images: list[Any], message: str, capsys: Capture
) -> None:
    assert desk.import_coco(images, []) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {desk.folder}/cct.json: {message}")
    assert list(desk.megadb.iterdir()) == []


def test_a_broken_taxonomy_string_is_named_by_row_and_column(
    desk: Desk, capsys: Capture
) -> None:
    write_store(desk.megadb, {"idfg": [{"file": "1.jpg", "labels": ["elk"]}]})
    desk.taxonomy.write_text(desk.taxonomy.read_text().replace("[(", "[", 1))
    assert desk.query({"elk": {"dataset_labels": {"idfg": ["elk"]}}}) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"error: {desk.taxonomy}: row 2, column taxonomy_string: not a Python literal: "
    )


_CERVIDAE = {"taxa": [{"level": "family", "name": "cervidae"}]}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"deer": {"taxa": [{"level": "family", "name": "cervida"}]}},
            (
                "deer.taxa[0]: the taxonomy has no family cervida; did you mean family "
                "cervidae?"
            ),
        ),
        (
            {"elk": {"dataset_labels": {"idfg": ["elc"]}}},
            (
                "elk.dataset_labels.idfg[0]: neither the taxonomy nor the metadata store has "
                "the dataset label idfg|elc; did you mean 'elk'?"
            ),
        ),
        (
            {"elk": {"dataset_labels": {"idgf": ["elk"]}}},
            (
                "elk.dataset_labels.idgf: neither the taxonomy nor the metadata store has "
                "the dataset 'idgf'; did you mean 'idfg'?"
            ),
        ),
        ({"deer": {}}, "deer: selects nothing; give it taxa or dataset_labels"),
        (
            {"deer": _CERVIDAE, "elk": {"dataset_labels": {"idfg": ["elk", "deer"]}}},
            (
                "elk: shares dataset labels with 'deer': 'idfg|deer', 'idfg|elk'; exclude "
                "them from one, or give --allow-multilabel"
            ),
        ),
        (
            {"deer": {**_CERVIDAE, "exclude": _CERVIDAE}},
            "deer.exclude: takes away everything that the label selects",
        ),
    ],
)
def test_d7_a_specification_that_cannot_be_meant_is_one_line(
    desk: Desk, spec: dict[str, Any], message: str, capsys: Capture
) -> None:
    write_store(desk.megadb, {"idfg": [{"file": "1.jpg", "labels": ["elk"]}]})
    assert desk.query(spec) == 1
    assert capsys.readouterr().err == f"error: {desk.spec}: {message}\n"
    assert not desk.run.exists() or list(desk.run.iterdir()) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("deer,familly,cervidae", "row 2, column type: "),
        (",family,cervidae", "row 2, column output_label: "),
        ("deer,row,idfg", "row 2, column content: "),
        ("deer,prioritize,[[idfg]]", "row 2, column content: "),
    ],
)
def test_a_specification_table_is_refused_by_row_and_column(
    desk: Desk, row: str, message: str, capsys: Capture
) -> None:
    table = desk.folder / "spec.csv"
    table.write_text(f"output_label,type,content\n{row}\n")
    assert csv_to_json.main([str(table), str(desk.spec)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {table}: {message}")
    assert not desk.spec.exists()
