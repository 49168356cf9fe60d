from __future__ import annotations

from datetime import datetime, timedelta
from math import inf, nan
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from classification.artifacts import image_table, layout, left_out
from classification.megadb import finishing
from classification.megadb import staging as tables
from classification.megadb.staging import Staging
from classification.runtime.errors import ArtifactError, ConfigurationError
from detection.boxes import Box
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from classification.artifacts.dataset_list import LocationRule
    from classification.megadb.finishing import Imported

Row = dict[str, Any]
NAME = "Caltech Traps"


class World:
    """What a test stages, finishes and reads back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, list[Row]] = {}

    def image(self, file: str | None, **known: object) -> None:
        row = len(self.rows.get(tables.IMAGES, ()))
        self.add(tables.IMAGES, {"row": row, "id": file, "file": file, **known})

    def label(self, image_id: str, label: str, level: str = "image") -> None:
        row = len(self.rows.get(tables.LABELS, ()))
        said = {"row": row, "image_id": image_id, "label": label, "level": level}
        self.add(tables.LABELS, said)

    def box(self, image_id: str, *numbers: float, relative: bool = False) -> None:
        row = len(self.rows.get(tables.BOXES, ()))
        said = dict(zip("xywh", numbers, strict=True), is_relative=relative)
        self.add(
            tables.BOXES,
            {"row": row, "image_id": image_id, "category": " Animal", **said},
        )

    def boxed(self, *image_ids: str) -> None:
        for image_id in image_ids:
            self.add(tables.BOXED, {"image_id": image_id})

    def add(self, table: str, row: Row) -> None:
        self.rows.setdefault(table, []).append(row)

    def finish(
        self, location_from: LocationRule = finishing.COLUMN, *, threads: int = 2
    ) -> Imported:
        with Staging.open(self.folder, threads=threads) as staging:
            for table, rows in self.rows.items():
                names = dict.fromkeys(name for row in rows for name in row)
                staging.add(
                    table,
                    pa.table({n: [row.get(n) for row in rows] for n in names}),
                )
            return finishing.finish(
                staging, dataset=NAME, location_from=location_from, megadb=self.folder
            )

    def table(self) -> list[Row]:
        path = image_table.path_of(self.folder, NAME)
        rows: list[Row] = parquet.read_table(path).to_pylist()
        return rows

    def column(self, name: str) -> dict[str, Any]:
        return {row["file"]: row[name] for row in self.table()}

    def left_out(self) -> list[tuple[str, ...]]:
        return list(left_out.read(left_out.path_of(self.folder, NAME)))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_rows_are_sorted_and_hold_what_was_staged(world: World) -> None:
    moment = datetime(2012, 5, 8, 19, 23, 36)  # noqa: DTZ001 - a camera's clock has no zone
    world.image(
        *("b/2.JPG",),
        location="13",
        sequence="s",
        frame=2,
        datetime=moment,
        width=2048,
        height=1494,
        url="https://x/2",
        rights="CC0",
    )
    world.image("b/10.jpg", location="13")
    world.image("B.jpg")
    world.label("b/2.JPG", "elk")
    imported = world.finish()
    assert world.table()[2] == {
        "dataset": NAME,
        "file": "b/2.JPG",
        "location": "13",
        "sequence": "s",
        "frame": 2,
        "datetime": moment,
        "width": 2048,
        "height": 1494,
        "labels": ["elk"],
        "label_level": "image",
        "boxes": None,
        "url": "https://x/2",
        "rights": "CC0",
    }
    assert [row["file"] for row in world.table()] == ["B.jpg", "b/10.jpg", "b/2.JPG"]
    assert (imported.images, imported.locations, imported.unlocated) == (3, 1, 1)
    assert world.left_out() == []


def test_the_schema_is_the_formats(world: World) -> None:
    world.image("a.jpg")
    world.finish()
    path = image_table.path_of(world.folder, NAME)
    assert parquet.read_schema(path).equals(image_table.schema())


def test_images_that_cannot_be_used_are_listed(world: World) -> None:
    world.image("ok.jpg")
    world.image("broken.jpg", problem="corrupt")
    world.image(None, id="nameless")
    world.image("../evil.jpg")
    world.image("/etc/evil.jpg")
    world.image("a\\b.jpg")
    world.image("a\0.jpg")
    world.image("C:evil.jpg")
    world.image("clip.mp4")
    world.image(".jpg")
    world.image("second.jpg", id="ok.jpg")
    world.image("ok.jpg", id="third")
    imported = world.finish()
    assert [row["file"] for row in world.table()] == ["ok.jpg"]
    assert world.left_out() == [
        ("image", "broken.jpg", "corrupt"),
        ("image", "nameless", "no file name"),
        ("image", "../evil.jpg", "leaves its folder"),
        (
            *("image", "/etc/evil.jpg"),
            "is absolute; names are relative to the images folder",
        ),
        ("image", "a\\b.jpg", "holds a backslash; names use /"),
        ("image", "a\0.jpg", "holds a NUL"),
        (
            *("image", "C:evil.jpg"),
            "is absolute; names are relative to the images folder",
        ),
        ("image", "clip.mp4", "not an image file"),
        ("image", ".jpg", "not an image file"),
        ("image", "second.jpg", "an earlier image has this id"),
        ("image", "ok.jpg", "an earlier image has this file"),
    ]
    assert imported.images_left_out == 11


def test_the_first_sound_image_of_an_id_is_kept(world: World) -> None:
    world.image("a.jpg", id="x", problem="corrupt")
    world.image("b.jpg", id="x")
    world.image("c.jpg", id="x")
    world.label("x", "elk")
    world.finish()
    assert world.column("labels") == {"b.jpg": ["elk"]}


NAMES = st.text(st.sampled_from("aZ./\\:\0 \n\u0130\u212a-"), max_size=8)
ENDINGS = st.sampled_from(["", ".jpg", ".JPG", ".jpeg", ".mp4", ".jpg/", ".g\u0130f"])


@settings(max_examples=8)
@given(st.lists(st.tuples(NAMES, ENDINGS).map("".join), max_size=30, unique=True))
@example(["..jpg", "x..jpg", "a/.jpg", "a.jpg/.", "\nb.jpg", "a\n.jpg", ":.jpg"])
def test_d43_the_same_names_stay_in_their_folder_as_everywhere(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    world.image("last.jpg")
    for name in names:
        world.image(name)
    world.finish()
    sound = {name for name in names if _is_sound(name)}
    assert set(world.column("file")) == sound | {"last.jpg"}


def _is_sound(name: str) -> bool:
    try:
        layout.checked_name(name)
    except ArtifactError:
        return False
    return layout.is_image_name(name)


def test_d9_a_number_and_its_text_are_one_location(world: World) -> None:
    world.image("a.jpg", location="13")
    world.image("b.jpg", location=" 13\n")
    world.image("c.jpg", location=" ")
    imported = world.finish()
    assert world.column("location") == {"a.jpg": "13", "b.jpg": "13", "c.jpg": None}
    assert (imported.locations, imported.unlocated) == (1, 1)


def test_d7_labels_are_lower_case_and_stand_once(world: World) -> None:
    world.image("a.jpg")
    world.label("a.jpg", " Puma\u00a0")
    world.label("a.jpg", "puma")
    world.label("a.jpg", "Elk, or Deer/Moose")
    assert world.finish().labels == 2
    assert world.column("labels") == {"a.jpg": ["elk, or deer/moose", "puma"]}


@settings(max_examples=8)
@given(st.lists(st.text(), min_size=1, max_size=40))
@example(["\u0130STANBUL", "STRASSE\u1e9e", "\u03a3\u03a3", "\u001fx\u0085", "\u2003"])
def test_labels_are_those_that_names_are_compared_by(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str]
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    world.image("a.jpg")
    for label in labels:
        world.label("a.jpg", label)
    world.finish()
    expected = sorted({normal(label) for label in labels} - {""})
    assert world.column("labels") == {"a.jpg": expected}
    empty = sum(not normal(label) for label in labels)
    assert world.left_out() == [("label", "a.jpg", "an empty label")] * empty


def test_a_label_of_an_unknown_image_is_listed(world: World) -> None:
    world.image("a.jpg")
    world.image("b.mp4")
    world.label("a.jpg", "elk")
    world.label("nobody", "Elk")
    world.label("b.mp4", "elk")
    imported = world.finish()
    assert ("label", "nobody: elk", finishing.UNKNOWN_ID) in world.left_out()
    assert imported.left_out == {
        "image: not an image file": 1,
        f"label: {finishing.UNKNOWN_ID}": 1,
    }


def test_the_level_is_the_images_where_one_label_is(world: World) -> None:
    for file in ("a.jpg", "b.jpg", "c.jpg"):
        world.image(file)
    world.label("a.jpg", "elk", "sequence")
    world.label("b.jpg", "elk", "sequence")
    world.label("b.jpg", "deer", "image")
    world.finish()
    expected = {"a.jpg": "sequence", "b.jpg": "image", "c.jpg": None}
    assert world.column("label_level") == expected


def test_boxes_become_fractions(world: World) -> None:
    world.image("a.jpg", width=200, height=100)
    world.image("b.jpg", width=200, height=100)
    world.image("c.jpg")
    world.box("a.jpg", 20, 10, 40, 50)
    world.box("a.jpg", 0.347, 0.237, 0.257, 0.258, relative=True)
    world.boxed("a.jpg", "b.jpg", "a.jpg")
    assert world.finish().boxed == 2
    assert world.column("boxes") == {
        "a.jpg": [
            {"category": "animal", "bbox": [0.1, 0.1, 0.2, 0.5]},
            {"category": "animal", "bbox": [0.347, 0.237, 0.257, 0.258]},
        ],
        "b.jpg": [],
        "c.jpg": None,
    }


def test_a_box_that_reaches_out_is_cut(world: World) -> None:
    world.image("a.jpg", width=100, height=100)
    world.box("a.jpg", -10, 20, 30, 30)
    world.box("a.jpg", 90, 90, 10.0001, 10)
    world.boxed("a.jpg")
    world.finish()
    first, second = (box["bbox"] for box in world.column("boxes")["a.jpg"])
    assert first == pytest.approx([0, 0.2, 0.2, 0.3])
    assert second == pytest.approx([0.9, 0.9, 0.1, 0.1])
    assert world.left_out() == [("box", "a.jpg", finishing.CUT)]


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((10, 10, -5, 5), "width and height are not above 0"),
        ((10, 10, 0, 5), "width and height are not above 0"),
        ((nan, 10, 5, 5), "four numbers expected"),
        ((10, 10, inf, 5), "four numbers expected"),
        ((None, 10, 5, 5), "four numbers expected"),
        ((100, 10, 5, 5), "outside of its image"),
        ((-5, 10, 5, 5), "outside of its image"),
    ],
)
def test_an_image_that_loses_a_box_counts_as_one_without_boxes(
    world: World, numbers: tuple[float, ...], reason: str
) -> None:
    world.image("a.jpg", width=100, height=100)
    world.box("a.jpg", 1, 1, 5, 5)
    world.box("a.jpg", *numbers)
    world.boxed("a.jpg")
    world.finish()
    assert world.column("boxes") == {"a.jpg": None}
    assert world.left_out() == [("box", "a.jpg", reason)]


def test_boxes_in_pixels_need_the_size_of_their_image(world: World) -> None:
    world.image("a.jpg", width=0, height=100)
    world.box("a.jpg", 1, 1, 5, 5)
    world.boxed("a.jpg")
    world.finish()
    reason = "in pixels, but the size of its image is unknown"
    assert world.left_out() == [("box", "a.jpg", reason)]
    assert world.column("width") == {"a.jpg": None}


def test_boxes_without_a_category_or_an_image_are_listed(world: World) -> None:
    world.image("a.jpg")
    world.image("b.jpg")
    for category in (None, " "):
        world.box("a.jpg", 0, 0, 1, 1, relative=True)
        world.rows[tables.BOXES][-1]["category"] = category
    world.box("b.jpg", 0, 0, 1, 1, relative=True)
    world.box("nobody", 0, 0, 1, 1, relative=True)
    world.boxed("a.jpg", "nobody", "no one")
    world.finish()
    assert world.left_out() == [
        ("box", "a.jpg", "no category"),
        ("box", "a.jpg", "no category"),
        ("box", "b.jpg", "not all boxes of its image are drawn"),
        ("box", "nobody", finishing.UNKNOWN_ID),
        ("box", "no one", finishing.UNKNOWN_ID),
    ]


numbers = st.floats(-1.5, 1.5, allow_nan=False)


@settings(max_examples=8)
@given(st.lists(st.tuples(*[numbers] * 4), max_size=30))
def test_every_box_is_the_part_of_it_that_its_image_holds(
    tmp_path_factory: pytest.TempPathFactory,
    rectangles: list[tuple[float, float, float, float]],
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    for number, rectangle in enumerate(rectangles):
        world.image(f"{number}.jpg")
        world.box(f"{number}.jpg", *rectangle, relative=True)
        world.boxed(f"{number}.jpg")
    world.image("none.jpg")
    world.finish()
    found = world.column("boxes")
    for number, (x, y, w, h) in enumerate(rectangles):
        part = Box.from_corners(x, y, x + w, y + h)
        boxes = found[f"{number}.jpg"]
        if w <= 0 or h <= 0 or x >= 1 or y >= 1 or x + w <= 0 or y + h <= 0:
            assert boxes is None
        else:
            expected = (part.left, part.top, part.width, part.height)
            assert boxes[0]["bbox"] == pytest.approx(expected)


def _moments(world: World, files: Mapping[str, str | None], **known: object) -> None:
    for file, moment in files.items():
        time = datetime.fromisoformat(moment) if moment else None
        world.image(file, datetime=time, **known)


def test_a_location_by_day_keeps_a_burst_over_midnight_together(world: World) -> None:
    burst = {"a2.jpg": "2012-05-09 00:00:01", "a1.jpg": "2012-05-08 23:59:59"}
    _moments(world, {**burst, "a3.jpg": None}, location="SITE", sequence="s1")
    # The same id at another site is another sequence.
    _moments(world, {"b.jpg": "2012-05-09 00:00:01"}, location="B", sequence="s1")
    _moments(world, {"c.jpg": "2012-05-09 00:00:01"}, location="SITE")
    _moments(world, {"d.jpg": "2012-05-09 00:00:01"})
    _moments(world, {"e.jpg": None}, location="SITE")
    imported = world.finish(finishing.DAY)
    assert world.column("location") == {
        "a1.jpg": "SITE@2012-05-08",
        "a2.jpg": "SITE@2012-05-08",
        "a3.jpg": "SITE@2012-05-08",
        "b.jpg": "B@2012-05-09",
        "c.jpg": "SITE@2012-05-09",
        "d.jpg": "2012-05-09",
        "e.jpg": "SITE",
    }
    assert (imported.sequences, imported.straddling) == (2, 1)


def test_a_location_by_folder_is_that_of_the_sequences_first_image(
    world: World,
) -> None:
    _moments(
        world,
        {"x/2.jpg": "2012-05-09", "y/z/1.jpg": "2012-05-08", "a/3.jpg": None},
        sequence="s",
    )
    world.image("b/2.jpg", sequence="t", frame=2)
    world.image("c/1.jpg", sequence="t", frame=1)
    world.image("a/0.jpg", sequence="t")
    world.image("d/1.jpg")
    world.image("top.jpg")
    world.finish(finishing.FOLDER)
    assert world.column("location") == {
        **dict.fromkeys(["x/2.jpg", "y/z/1.jpg", "a/3.jpg"], "y/z"),
        **dict.fromkeys(["a/0.jpg", "b/2.jpg", "c/1.jpg"], "c"),
        "d/1.jpg": "d",
        "top.jpg": None,
    }


def test_a_location_by_sequence_is_within_its_site(world: World) -> None:
    world.image("a.jpg", sequence="1", location="A")
    world.image("b.jpg", sequence="1", location="B")
    world.image("c.jpg", sequence="1")
    world.image("d.jpg", location="A")
    world.finish(finishing.SEQUENCE)
    expected = {"a.jpg": "A@1", "b.jpg": "B@1", "c.jpg": "1", "d.jpg": None}
    assert world.column("location") == expected


def test_what_an_importer_skipped_is_listed(world: World) -> None:
    world.image("a.jpg")
    for number in (17, 3):
        skipped = {"item": f"annotations[{number}]", "reason": "4 numbers expected"}
        world.add(tables.SKIPPED, skipped)
    imported = world.finish()
    assert world.left_out() == [
        ("source", "annotations[3]", "4 numbers expected"),
        ("source", "annotations[17]", "4 numbers expected"),
    ]
    assert imported.left_out == {"source: 4 numbers expected": 2}
    assert imported.images_left_out == 0


def test_a_source_without_images_is_refused(world: World) -> None:
    skipped = {"item": "row 2", "reason": "no file name"}
    world.add(tables.SKIPPED, skipped)
    with pytest.raises(ConfigurationError) as refusal:
        world.finish()
    assert str(refusal.value) == f"{NAME}: no images; 1 x no file name"
    assert list(world.folder.iterdir()) == []


def test_a_token_in_a_url_is_not_kept(world: World) -> None:
    world.image("a.jpg", url="https://x/c/a.jpg?sv=1&sig=secret")
    world.image("b.jpg", url="https://x/b.jpg?size=2")
    world.finish()
    assert world.column("url") == {
        "a.jpg": "https://x/c/a.jpg",
        "b.jpg": "https://x/b.jpg?size=2",
    }


def _fill(world: World, order: Sequence[int]) -> None:
    start = datetime(2020, 1, 1)  # noqa: DTZ001 - a camera's clock has no zone
    for number in order:
        file = f"{number % 7}/{number}.jpg"
        said = {
            "row": number,
            "id": f"id{number % 190}",
            "sequence": f"s{number // 3}",
            "location": f"{number // 9}",
            "datetime": start + timedelta(minutes=37 * number),
        }
        world.image(file, **said)
        world.label(f"id{number}", f"label {number % 5}")
        world.rows[tables.LABELS][-1]["row"] = number
        world.box(f"id{number}", 0.1, 0.1, 0.1 + number % 3 / 2, 0.2, relative=True)
        world.rows[tables.BOXES][-1]["row"] = number
        world.boxed(f"id{number}")


@pytest.mark.parametrize("rule", finishing.LOCATION_RULES)
def test_bytes_depend_on_neither_threads_nor_the_order_of_staging(
    tmp_path: Path, rule: LocationRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finishing, "_ROWS", 64)
    one, other = World(tmp_path / "one"), World(tmp_path / "other")
    _fill(one, range(200))
    _fill(other, range(199, -1, -1))
    assert one.finish(rule, threads=1) == other.finish(rule, threads=4)
    for path in (image_table.path_of, left_out.path_of):
        written = path(one.folder, NAME).read_bytes()
        assert written == path(other.folder, NAME).read_bytes()
    assert len(one.table()) == 190
