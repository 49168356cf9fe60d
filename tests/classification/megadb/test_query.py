from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classification.artifacts import image_table
from classification.artifacts.location_counts import LocationCount
from classification.artifacts.queried_images import QueriedBox, QueriedImage
from classification.megadb import query
from classification.megadb.query import Corrections
from classification.megadb.reading import MetadataStore
from classification.runtime.errors import ArtifactError
from detection.boxes import Box
from taxonomy.graph import DatasetLabel
from tests.world import write_store

if TYPE_CHECKING:
    from collections.abc import Mapping

BEAR, DEER = DatasetLabel("a", "bear"), DatasetLabel("b c", "deer")


def image(file: str, *labels: str, **columns: object) -> dict[str, Any]:
    return {"file": file, "labels": list(labels), **columns}


def found(
    folder: Path,
    world: Mapping[str, list[dict[str, Any]]],
    pairs: list[DatasetLabel],
    corrections: Mapping[str, Mapping[str, str]] | None = None,
) -> query.Candidates:
    write_store(folder, world)
    with MetadataStore.open(folder, work_dir=folder) as store:
        return query.find(store, pairs, corrections or {})


def test_an_image_is_found_by_its_only_label(tmp_path: Path) -> None:
    candidates = found(
        tmp_path,
        {
            "B C": [image("1.jpg", "deer"), image("2.jpg", "bear")],
            "a": [
                image("1.jpg"),
                image("2.jpg", "bear", "deer"),
                image("3.jpg", "bear", location="13"),
                image("4.JPG", "bear", location="7"),
                image("5.jpg", "bears"),
            ],
        },
        [DEER, BEAR, DatasetLabel("elsewhere", "bear")],
    )
    assert candidates.pairs == (BEAR, DEER)
    assert candidates.kind.tolist() == [1, -1, -1, -1, 0, 0, -1]
    assert candidates.several == 1
    assert candidates.locations.to_pylist() == [
        {"dataset": "B C", "location": ""},
        {"dataset": "a", "location": "13"},
        {"dataset": "a", "location": "7"},
    ]
    assert candidates.location.tolist() == [0, -1, -1, -1, 1, 2, -1]


def test_what_is_not_named_as_an_image_is_marked(tmp_path: Path) -> None:
    files = [".jpg", "a.JPEG", "a.jpg.txt", "b.webp", "c", "d/.png", "e.Tif", "fjpg"]
    world = {"a": [image(file, "bear") for file in files]}
    candidates = found(tmp_path, world, [BEAR])
    assert [
        file
        for file, named in zip(files, candidates.is_image.tolist(), strict=True)
        if named
    ] == ["a.JPEG", "b.webp", "e.Tif"]
    assert candidates.images.tolist() == candidates.is_image.tolist()
    assert candidates.count() == {BEAR: 3}


def test_d13_a_correction_brings_an_image_in_or_sends_it_out(tmp_path: Path) -> None:
    world = {
        "a": [
            image("1.jpg"),
            image("2.jpg", "fox"),
            image("3.jpg", "fox", "bear"),
            image("4.jpg", "bear"),
            image("5.jpg", "bear"),
            image("6.jpg", "bear"),
            image("7.jpg", "bear"),
        ]
    }
    elk = DatasetLabel("a", "elk")
    corrections = {
        "1.jpg": "bear",
        "2.jpg": " Bear",
        "3.jpg": "bear",
        "4.jpg": "fox",
        "5.jpg": "",
        "6.jpg": "elk",
        "9.jpg": "bear",
    }
    candidates = found(tmp_path, world, [BEAR, elk], {"a": corrections})
    assert candidates.kind.tolist() == [0, 0, 0, -1, -1, 1, 0]
    assert candidates.several == 0
    assert candidates.corrections == {
        "a": Corrections(unknown=1, removed=2, added=3, relabelled=1)
    }


def test_images_come_back_in_order(tmp_path: Path) -> None:
    box = {"category": "animal", "bbox": [0.1, 0.2, 0.3, 0.4]}
    world = {
        "a": [
            image("1.jpg", "bear", boxes=[box], location="13"),
            image("2.jpg", "bear", boxes=[]),
            image("3.jpg", "bear"),
            image("4.jpg", "bear", location=""),
        ],
        "B c": [image("1.jpg", "deer")],
    }
    write_store(tmp_path, world, path_prefix="p")
    with MetadataStore.open(tmp_path, work_dir=tmp_path) as store:
        candidates = query.find(store, [BEAR, DEER], {})
        taken = np.array([True, True, True, False, True])
        images = list(query.queried_images(store, candidates, [("x",), ("y",)], taken))
    drawn = QueriedBox("animal", Box(0.1, 0.2, 0.3, 0.4))
    assert images == [
        ("B c/p/1.jpg", QueriedImage("B c", "deer", ("y",))),
        ("a/p/1.jpg", QueriedImage("a", "bear", ("x",), "13", (drawn,))),
        ("a/p/2.jpg", QueriedImage("a", "bear", ("x",), None, ())),
        ("a/p/4.jpg", QueriedImage("a", "bear", ("x",))),
    ]


def test_locations_are_counted_by_label(tmp_path: Path) -> None:
    world = {
        "a": [
            image("1.jpg", "bear", location="13"),
            image("2.jpg", "bear"),
            image("3.jpg", "bear", location="13"),
            image("4.jpg", "fox", location="13"),
            image("5.jpg", "fox", location="7"),
        ],
        "b c": [image("1.jpg", "deer", location="13")],
    }
    fox = DatasetLabel("a", "fox")
    labels = [("bear",), ("animal", "bear"), ("deer",)]
    candidates = found(tmp_path, world, [BEAR, DEER, fox])
    taken = np.array([True, True, True, True, True, False])
    assert list(query.count_locations(candidates, labels, taken)) == [
        LocationCount("animal", "a", "13", 1),
        LocationCount("animal", "a", "7", 1),
        LocationCount("bear", "a", "", 1),
        LocationCount("bear", "a", "13", 3),
        LocationCount("bear", "a", "7", 1),
    ]
    assert list(query.count_locations(candidates, labels, ~(taken | True))) == []


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [image("2.jpg", "bear"), image("1.jpg", "bear")],
            "column file: '1.jpg' stands after '2.jpg'; a table is sorted by file, each once; import_metadata writes it anew",
        ),
        (
            [image("1.jpg", "bear"), image("1.jpg", "bear")],
            "column file: '1.jpg' stands after '1.jpg'; a table is sorted by file, each once; import_metadata writes it anew",
        ),
        ([image("../x.jpg", "bear")], "column file: '../x.jpg' leaves its folder"),
        (
            [image("c:x.jpg", "bear")],
            "column file: 'c:x.jpg' is absolute; names are relative to the images folder (run_detector_batch --output_relative_filenames)",
        ),
        (
            [image("a\\b.jpg", "bear")],
            r"column file: 'a\\b.jpg' holds a backslash; names use /",
        ),
        ([image("a\0b.jpg", "bear")], r"column file: 'a\x00b.jpg' holds a NUL"),
        ([image("", "bear")], "column file: '' names no file"),
        (
            [image("1.jpg", "bear", boxes=[{"category": "x", "bbox": [0, 0, 7, 0]}])],
            "1.jpg: boxes[0].bbox[2]: Expected `float` <= 1.01",
        ),
        (
            [
                image(
                    "1.jpg",
                    "bear",
                    boxes=[{"category": "x", "bbox": [float("nan"), 0, 0, 0]}],
                )
            ],
            "1.jpg: boxes[0].bbox[0]: Expected `float` >= -0.01",
        ),
        (
            [image("1.jpg", "bear", boxes=[{"category": None, "bbox": [0, 0, 0, 0]}])],
            "1.jpg: boxes[0].category: Expected `str`, got `null`",
        ),
    ],
)
def test_a_table_that_breaks_its_promises_is_refused(
    rows: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    write_store(tmp_path, {"a": rows})
    with MetadataStore.open(tmp_path, work_dir=tmp_path) as store:
        candidates = query.find(store, [BEAR], {})
        images = query.queried_images(
            store, candidates, [("x",)], np.ones(len(rows), np.bool_)
        )
        with pytest.raises(ArtifactError) as refusal:
            list(images)
    assert str(refusal.value) == f"{image_table.path_of(tmp_path, 'a')}: {message}"


names = st.sampled_from(["bear", "deer", "fox"])
worlds = st.dictionaries(
    st.sampled_from(["a", "A b", "a!", "c"]),
    st.lists(
        st.tuples(
            st.lists(names, max_size=2, unique=True).map(sorted),
            st.none() | st.sampled_from(["x", "y"]),
            st.none() | names | st.just(""),
        ),
        max_size=8,
    ),
    min_size=1,
)


@settings(max_examples=40)
@given(worlds, st.sets(st.tuples(st.sampled_from(["a", "a b", "c"]), names)))
def test_equals_the_plain_rule(
    world: dict[str, list[tuple[list[str], str | None, str | None]]],
    wanted: set[tuple[str, str]],
) -> None:
    expected = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    corrections: dict[str, dict[str, str]] = {}
    for dataset, images in world.items():
        rows[dataset] = []
        for number, (labels, location, right) in enumerate(images):
            rows[dataset].append(image(f"{number}.jpg", *labels, location=location))
            if right is not None:
                corrections.setdefault(dataset, {})[f"{number}.jpg"] = right
            only = labels[0] if len(labels) == 1 else ""
            label = only if right is None else right
            if (dataset.lower(), label) in wanted:
                name = f"{dataset}/{number}.jpg"
                expected[name] = QueriedImage(dataset, label, ("z",), location)
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder), rows)
        with MetadataStore.open(Path(folder), work_dir=Path(folder)) as store:
            pairs = [DatasetLabel(*pair) for pair in wanted]
            candidates = query.find(store, pairs, corrections)
            labels_of_kind = [("z",)] * len(candidates.pairs)
            taken = candidates.kind >= 0
            selected = query.queried_images(store, candidates, labels_of_kind, taken)
            assert list(selected) == sorted(expected.items())
