from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from classification import import_metadata
from classification.artifacts import dataset_list, image_table
from classification.artifacts.dataset_list import DatasetEntry
from classification.megadb import store
from classification.runtime.errors import StorageError
from tests.world import jpeg_bytes, photograph, write_store

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """file,label,location,datetime
a/1.jpg,Elk,13,2012-05-08 10:00:00
a/2.jpg,deer,13,2012-05-09 10:00:00
b/3.jpg,,014,
clip.mp4,elk,13,
"""


class Bench:
    """A store, and how a test imports into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.megadb = folder / "megadb"

    def source(self, content: str, name: str = "t.csv") -> Path:
        path = self.folder / name
        path.write_text(content, encoding="utf-8")
        return path

    def run(self, source: Path | None, *arguments: object) -> int:
        words = [] if source is None else [source]
        return import_metadata.main(
            [
                *(str(word) for word in words),
                *("--megadb", str(self.megadb), "--logdir", str(self.folder / "log")),
                *map(str, arguments),
            ]
        )

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        path = image_table.path_of(self.megadb, dataset)
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows

    def log(self) -> dict[str, Any]:
        *_, path = sorted((self.folder / "log").iterdir())
        document: dict[str, Any] = json.loads(path.read_bytes())
        return document

    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.megadb.iterdir()}


def remarks(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Returns what was said on stderr, but not what a dataset now holds."""
    lines = capsys.readouterr().err.splitlines()
    facts = (".parquet: ", ".left_out.csv lists ", "; log: ")
    return [line for line in lines if not any(fact in line for fact in facts)]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_csv_becomes_a_dataset(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    source = bench.source(TABLE)
    assert bench.run(source, "--dataset", "My Traps") == 0
    rows = [
        (row["file"], row["labels"], row["location"]) for row in bench.rows("My Traps")
    ]
    assert rows == [
        ("a/1.jpg", ["elk"], "13"),
        ("a/2.jpg", ["deer"], "13"),
        ("b/3.jpg", [], "014"),
    ]
    assert dataset_list.read(bench.megadb) == {"My Traps": DatasetEntry(images=3)}
    table, listed, last = capsys.readouterr().err.splitlines()
    megadb = bench.megadb
    assert table == (
        f"{megadb}/My Traps.parquet: 3 images at 2 locations, 2 labelled with 2 labels, "
        "0 with all boxes"
    )
    assert listed == (
        f"{megadb}/My Traps.left_out.csv lists what was left out: "
        "1 x image: not an image file"
    )
    assert last.startswith(
        f"3 images of 1 datasets in {megadb}; 1 images left out, and 0 other items; log: "
    )


def test_the_log_holds_each_reason(bench: Bench) -> None:
    bench.run(bench.source(TABLE), "--dataset", "x")
    log = bench.log()
    assert log["counts"] == {
        "datasets": 1,
        "images": 3,
        "images_left_out": 1,
        "other_items_left_out": 0,
    }
    assert log["datasets"]["x"]["left_out"] == {"image: not an image file": 1}
    assert log["options"]["format"] == "csv"


def test_the_same_input_gives_the_same_bytes(bench: Bench) -> None:
    source = bench.source(TABLE)
    assert bench.run(source, "--dataset", "x", "--location-from", "day") == 0
    before = bench.content()
    assert bench.run(source, "--dataset", "x", "--location-from", "day") == 0
    assert bench.content() == before
    assert set(before) == {"datasets.json", "x.parquet", "x.left_out.csv"}


def test_importing_again_replaces_a_dataset_whole(bench: Bench) -> None:
    options = ("--dataset", "x", "--base-url", "https://x.org/a")
    assert bench.run(bench.source(TABLE), *options) == 0
    assert bench.run(bench.source("file\nz.jpg\n"), "--dataset", "x") == 0
    assert [row["file"] for row in bench.rows("x")] == ["z.jpg"]
    assert dataset_list.read(bench.megadb) == {"x": DatasetEntry(images=1)}


def test_the_rule_of_locations_is_recorded(bench: Bench) -> None:
    bench.run(bench.source(TABLE), "--dataset", "x", "--location-from", "day")
    assert dataset_list.read(bench.megadb)["x"].location_from == "day"
    assert [row["location"] for row in bench.rows("x")] == [
        "13@2012-05-08",
        "13@2012-05-09",
        "014",
    ]


@pytest.mark.parametrize(
    ("table", "which"),
    [("file\na.jpg\n", "no"), ("file,location\na.jpg,1\nb.jpg,1\n", "a single")],
)
def test_a_source_that_cannot_be_split_names_the_way_out(
    bench: Bench, capsys: pytest.CaptureFixture[str], table: str, which: str
) -> None:
    assert bench.run(bench.source(table), "--dataset", "x") == 0
    assert remarks(capsys) == [
        f"x: {which} location, so it cannot be split by location; "  # noqa: ISC004 - one message
        "--location-from sequence, day or folder makes some"
    ]


def test_columns_and_a_second_table(bench: Bench) -> None:
    bench.source("id;place\n1;ridge\n", "d.csv")
    source = bench.source("pic;genus;species;id\na.jpg;Lynx;rufus;1\n")
    assert (
        bench.run(
            source,
            *("--dataset", "x", "--delimiter", ";"),
            *("--columns", "file=pic,label=genus+species,location=place"),
            *("--join", f"{bench.folder}/d.csv:id"),
        )
        == 0
    )
    [row] = bench.rows("x")
    assert (row["labels"], row["location"]) == (["lynx rufus"], "ridge")


def test_a_folder_of_labelled_folders(bench: Bench) -> None:
    folder = bench.folder / "pictures"
    for name in ("site 1/Elk/1.jpg", "site 2/empty/2.JPG"):
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(jpeg_bytes(photograph(32, 24)))
    assert bench.run(folder, "--dataset", "x", "--layout", "location/label") == 0
    rows = [(row["location"], row["labels"]) for row in bench.rows("x")]
    assert rows == [("site 1", ["elk"]), ("site 2", ["empty"])]
    assert dataset_list.read(bench.megadb)["x"].root == str(folder)


def test_a_coco_camera_traps_file(bench: Bench) -> None:
    document = {
        "info": {},
        "categories": [{"id": 1, "name": "Bobcat"}],
        "images": [{"id": 1, "file_name": "1.jpg", "location": 33}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1}],
    }
    source = bench.source(json.dumps(document), "cct.json")
    assert bench.run(source, "--dataset", "x") == 0
    [row] = bench.rows("x")
    assert (row["location"], row["labels"]) == ("33", ["bobcat"])


def test_where_the_images_are(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    options = [
        *("--base-url", "https://example.org/a?x=1", "--path-prefix", "/c\\d/"),
        *("--container", "https://example.blob.core.windows.net/c/?sv=1&sig=secret"),
        *("--images-dir", bench.folder),
    ]
    assert bench.run(bench.source(TABLE), "--dataset", "x", *options) == 0
    assert dataset_list.read(bench.megadb)["x"] == DatasetEntry(
        root=str(bench.folder),
        base_url="https://example.org/a/",
        container="https://example.blob.core.windows.net/c",
        path_prefix="c/d",
        images=3,
    )
    said = remarks(capsys)
    assert said[:2] == [
        "--base-url: what follows the ? is not kept: it may be a token",
        "--container: what follows the ? is not kept: it may be a token",
    ]
    assert said[2] == (
        "none of 3 images that were looked for is there, such as "
        f"{bench.folder}/c/d/a/1.jpg; --images-dir and --path-prefix say where they are"
    )
    written = b"".join([*bench.content().values(), json.dumps(bench.log()).encode()])
    assert b"secret" not in written
    assert "secret" not in "".join(said)


@pytest.mark.parametrize(
    "url", ["ftp://x.org/", "x.org", "https://user:secret@x.org/", "https://"]
)
def test_an_address_that_is_none_is_refused(
    bench: Bench, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run(bench.source(TABLE), "--dataset", "x", "--container", url) == 1
    assert remarks(capsys) == [
        "error: --container: an https:// address without a user expected"
    ]
    assert not bench.megadb.exists()


@pytest.mark.parametrize(
    ("prefix", "kept"), [(".", ""), ("/", ""), ("./a//b/", "a/b"), ("a\\b", "a/b")]
)
def test_a_path_prefix_is_written_in_one_way(
    bench: Bench, prefix: str, kept: str
) -> None:
    bench.run(bench.source(TABLE), "--dataset", "x", "--path-prefix", prefix)
    assert dataset_list.read(bench.megadb)["x"].path_prefix == kept


def test_images_that_are_there_are_not_missed(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.folder / "b").mkdir()
    (bench.folder / "b/3.jpg").touch()
    options = ("--dataset", "x", "--images-dir", bench.folder)
    assert bench.run(bench.source(TABLE), *options) == 0
    assert remarks(capsys) == []


def test_the_list_of_a_store(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run(bench.source(TABLE), "--dataset", "My Traps", "--base-url", "https://x/")
    bench.run(bench.source("file\nz.jpg\n"), "--dataset", "b")
    assert bench.run(None, "--list") == 0
    assert capsys.readouterr().out == (
        "dataset   images  labelled  boxed  labels  locations  location_from  source\n"
        "My Traps       3         2      0       2          2  column         https://x/\n"
        "b              1         0      0       0          0  column\n"
    )


@pytest.mark.parametrize(
    ("arguments", "standard", "meant"),
    [
        ("--columns file=a", "coco", "CSV tables of your own; csv"),
        ("--layout label", "csv", "folders of images; folders"),
        ("--cloud aws", "csv", "LILA's table; lila"),
        ("--no-own-boxes", "csv", "COCO Camera Traps JSON; coco"),
        ("--machine-labels", "coco", "Camtrap DP packages; camtrapdp"),
    ],
)
def test_a_flag_that_says_nothing_about_the_source_is_refused(
    bench: Bench,
    arguments: str,
    standard: str,
    meant: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = bench.source(TABLE)
    flag, *value = arguments.split()
    given = ("--dataset", "x", "--format", standard, flag, *value)
    assert bench.run(source, *given) == 1
    called, otherwise = meant.split("; ")
    [line] = remarks(capsys)
    assert line == (
        f"error: {flag} is for {called}, and {source} is read as {standard}; "
        f"--format {otherwise} says otherwise"
    )
    assert not bench.megadb.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--dataset says what the dataset is called"),
        (
            ("--dataset", "../x"),
            "{megadb}: '../x' leaves its folder",
        ),
        (
            ("--dataset", "x", "--columns", "file=fiel"),
            "{source}: row 1: no column 'fiel'; did you mean 'file'",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line(
    bench: Bench,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = bench.source(TABLE)
    assert bench.run(source, *arguments) == 1
    expected = message.format(source=source, megadb=bench.megadb)
    assert remarks(capsys) == [f"error: {expected}"]
    assert not bench.megadb.exists() or bench.content() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the source is missing; or --list what is in the store"),
        (("t.csv", "--list"), "--list imports nothing; leave the source out"),
        (("t.csv", "--columns", "label=a"), "file=COLUMN is missing"),
        (("t.csv", "--delimiter", ";;"), "';;' is not one character, nor tab"),
        (("t.csv", "--path-prefix", "a/../.."), "'a/../..' leaves its folder"),
        (("t.csv", "--layout", "species"), "'species' is not a layout of folders"),
        (("t.csv", "--join", "x"), "'x' is not TABLE.csv:COLUMN"),
    ],
)
def test_a_contradictory_line_is_a_usage_error(
    bench: Bench,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ending:
        bench.run(None, *arguments)
    assert ending.value.code == 2
    assert message in capsys.readouterr().err


def test_a_run_that_leaves_all_images_out_ends_with_4(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    source = bench.source("file\n../a.jpg\n/b.jpg\n")
    assert bench.run(source, "--dataset", "x") == 4
    assert remarks(capsys)[-1] == "error: all 2 items failed; see the step log"


def test_more_images_left_out_than_allowed_end_with_4(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run(bench.source(TABLE), "--dataset", "x", "--max-failures", 0) == 4
    assert remarks(capsys) == ["error: 1 of 4 items failed; --max-failures allows 0"]
    assert len(bench.rows("x")) == 3


def test_a_failed_import_keeps_the_dataset_that_was_there(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run(bench.source(TABLE), "--dataset", "x") == 0
    before = bench.content()
    broken = bench.source("file,label\n")
    assert bench.run(broken, "--dataset", "x") == 1
    assert remarks(capsys) == ["error: x: no images"]
    assert bench.content() == before


def test_an_import_that_fails_at_its_end_changes_nothing(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was left out is known before the table is written, and says no more."""
    assert bench.run(bench.source(TABLE), "--dataset", "x") == 0
    table = image_table.path_of(bench.megadb, "x")
    table.unlink()
    before = bench.content()
    table.mkdir()
    other = bench.source("file\n../b.jpg\nc.jpg\n")
    assert bench.run(other, "--dataset", "x") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: cannot write {table}: not a plain file"
    table.rmdir()
    assert bench.content() == before


def test_two_imports_into_one_store(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    with store.hold(bench.megadb):
        assert bench.run(bench.source(TABLE), "--dataset", "x") == 1
    assert remarks(capsys) == [
        f"error: another import is writing {bench.megadb}; wait for it to end"
    ]


def _many(count: int) -> str:
    rows = (
        f"site_{n % 50}/{n}.jpg,label {n % 9},site {n % 50},2012-05-08 10:00:00"
        for n in range(count)
    )
    return "\n".join(["file,label,location,datetime", *rows, ""])


def test_killed_at_any_time_and_run_again_gives_the_same_bytes(bench: Bench) -> None:
    source = bench.source(_many(30_000))
    command = [
        *(sys.executable, "-m", "classification.import_metadata", str(source)),
        *("--dataset", "x", "--logdir", str(bench.folder / "log"), "--megadb"),
    ]
    begin = time.perf_counter()
    subprocess.run([*command, str(bench.megadb)], check=True, capture_output=True)
    took = time.perf_counter() - begin
    undisturbed = bench.content()
    bench.megadb = bench.folder / "disturbed"
    for share in (0.5, 0.7, 0.9):
        with subprocess.Popen(
            [*command, str(bench.megadb)], stderr=subprocess.DEVNULL
        ) as killed:
            time.sleep(share * took)
            killed.kill()
        for name, content in undisturbed.items():
            path = bench.megadb / name
            assert not path.exists() or path.read_bytes() == content
    assert bench.run(source, "--dataset", "x") == 0
    assert bench.content() == undisturbed
    shutil.rmtree(bench.megadb)


def test_a_separate_file_of_boxes(bench: Bench) -> None:
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in (1, 2, 3)]
    species = {"images": images, "annotations": [], "categories": []}
    sized = {"id": 1, "file_name": "1.jpg", "width": 100, "height": 50}
    boxes = {
        "images": [sized, images[1]],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20]}
        ],
        "categories": [{"id": 1, "name": "animal"}],
    }
    source = bench.source(json.dumps(species), "cct.json")
    drawn = bench.source(json.dumps(boxes), "boxes.json")
    assert bench.run(source, "--dataset", "x", "--boxes", drawn) == 0
    assert [row["boxes"] for row in bench.rows("x")] == [
        [{"category": "animal", "bbox": [0.1, 0.2, 0.2, 0.4]}],
        [],
        None,
    ]


LILA = """dataset_name,url_gcp,url_aws,image_id,sequence_id,location_id,frame_num,original_label,datetime,annotation_level
Nowhere Deer,https://gcp.example/nd/a/1.jpg,https://aws.example/x/nd/a/1.jpg,Nowhere Deer : a/1,Nowhere Deer : s1,Nowhere Deer : 7,1,Deer,05-08-2012 19:23:36,image
Nowhere Deer,https://gcp.example/nd/a/1.jpg,https://aws.example/x/nd/a/1.jpg,Nowhere Deer : a/1,Nowhere Deer : s1,Nowhere Deer : 7,1,fox,05-08-2012 19:23:36,image
Nowhere Deer,https://gcp.example/nd/a/2.jpg,https://aws.example/x/nd/a/2.jpg,Nowhere Deer : a/2,Nowhere Deer : s2,Nowhere Deer : 8,2,empty,,image
Cats,https://gcp.example/cats/9.jpg,https://aws.example/x/cats/9.jpg,Cats : 9,Cats : unknown,Cats,-1,cat,,sequence
"""


def test_lila_s_table_becomes_its_datasets(bench: Bench) -> None:
    source = bench.source(LILA)
    assert bench.run(source) == 0
    facts = [
        (row["dataset"], row["file"], row["location"], row["labels"])
        for dataset in ("Cats", "Nowhere Deer")
        for row in bench.rows(dataset)
    ]
    assert facts == [
        ("Cats", "9.jpg", None, ["cat"]),
        ("Nowhere Deer", "a/1.jpg", "7", ["deer", "fox"]),
        ("Nowhere Deer", "a/2.jpg", "8", ["empty"]),
    ]
    entries = dataset_list.read(bench.megadb)
    assert {name: entry.base_url for name, entry in entries.items()} == {
        "Cats": "https://gcp.example/cats/",
        "Nowhere Deer": "https://gcp.example/nd/",
    }
    assert bench.log()["counts"]["datasets"] == 2
    before = bench.content()
    assert bench.run(source) == 0
    assert bench.content() == before


@pytest.mark.parametrize(
    ("arguments", "file", "entry"),
    [
        ((), "a/1.jpg", {"base_url": "https://gcp.example/nd/"}),
        (("--cloud", "aws"), "a/1.jpg", {"base_url": "https://aws.example/x/nd/"}),
        (
            ("--base-url", "https://gcp.example"),
            "nd/a/1.jpg",
            {"base_url": "https://gcp.example/"},
        ),
        (
            ("--base-url", "https://gcp.example", "--path-prefix", "nd/a"),
            "1.jpg",
            {"base_url": "https://gcp.example/", "path_prefix": "nd/a"},
        ),
        (
            ("--path-prefix", "nd"),
            "a/1.jpg",
            {"base_url": "https://gcp.example/", "path_prefix": "nd"},
        ),
        (("--path-prefix", "elsewhere"), "a/1.jpg", {"path_prefix": "elsewhere"}),
        (
            ("--container", "https://c.example"),
            "a/1.jpg",
            {"container": "https://c.example"},
        ),
    ],
)
def test_where_lila_s_images_are(
    bench: Bench, arguments: tuple[str, ...], file: str, entry: dict[str, str]
) -> None:
    source = bench.source(LILA)
    assert bench.run(source, "--dataset", "nowhere deer", *arguments) == 0
    assert bench.rows("Nowhere Deer")[0]["file"] == file
    assert dataset_list.read(bench.megadb) == {
        "Nowhere Deer": DatasetEntry(**entry, images=2)  # type: ignore[arg-type]  # all are texts
    }


def test_lila_s_table_and_a_folder_of_ones_own(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.folder / "images/a").mkdir(parents=True)
    (bench.folder / "images/a/1.jpg").write_bytes(jpeg_bytes(photograph(8, 8)))
    source = bench.source(LILA)
    folder = bench.folder / "images"
    given = ("--dataset", "Nowhere Deer", "--images-dir", folder)
    assert bench.run(source, *given) == 0
    assert remarks(capsys) == []
    entry = dataset_list.read(bench.megadb)["Nowhere Deer"]
    assert (entry.root, entry.base_url) == (str(folder), None)


COCO = {
    "images": [
        {"id": n, "file_name": f"a/{n}.jpg", "width": 100, "height": 100}
        for n in (1, 2)
    ],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]}],
    "categories": [{"id": 1, "name": "elk"}],
}
DETECTED = {
    "info": {"detector": "md_v5a.0.0.pt", "format_version": "1.3"},
    "detection_categories": {"1": "animal"},
    "images": [
        {
            "file": f"bucket/elks/a/{n}.jpg",
            "detections": [
                {"category": "1", "conf": conf, "bbox": [0.5, 0.5, conf / 10, 0.1]}
                for conf in (0.1, 0.2, 0.8)
            ],
        }
        for n in (2, 3)
    ],
}


@pytest.mark.parametrize(
    ("arguments", "widths"),
    [
        ((), [[0.1], [0.02, 0.08]]),
        (("--box-threshold", "0.8"), [[0.1], [0.08]]),
        (("--box-threshold", "0", "--no-own-boxes"), [None, [0.01, 0.02, 0.08]]),
    ],
)
def test_boxes_of_megadetector(
    bench: Bench, arguments: tuple[str, ...], widths: list[list[float] | None]
) -> None:
    source = bench.source(json.dumps(COCO), "cct.json")
    found = bench.source(json.dumps(DETECTED), "md.json")
    assert bench.run(source, "--dataset", "x", "--boxes", found, *arguments) == 0
    rows = bench.rows("x")
    assert [
        row["boxes"] and [box["bbox"][2] for box in row["boxes"]] for row in rows
    ] == [wide and [pytest.approx(width) for width in wide] for wide in widths]
    assert [row["labels"] for row in rows] == [["elk"], []]


@pytest.mark.parametrize("with_boxes", [True, False])
def test_a_threshold_is_only_of_megadetector(
    bench: Bench, with_boxes: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    source = bench.source(json.dumps(COCO), "cct.json")
    boxes = ("--boxes", source) if with_boxes else ()
    assert bench.run(source, "--dataset", "x", "--box-threshold", 0.5, *boxes) == 1
    why = f"{source} holds none" if with_boxes else "there is no --boxes"
    assert remarks(capsys) == [
        f"error: --box-threshold is for MegaDetector's detections, and {why}"
    ]


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [((), [["elk"], []]), (("--machine-labels",), [["elk"], ["fox"]])],
)
def test_a_camtrap_dp_package(
    bench: Bench, arguments: tuple[str, ...], labels: list[list[str]]
) -> None:
    for name, content in PACKAGE.items():
        bench.source(content, name)
    assert bench.run(bench.folder, "--dataset", "x", *arguments) == 0
    rows = bench.rows("x")
    assert [(row["file"], row["location"]) for row in rows] == [
        ("m/1.jpg", "ridge"),
        ("m/2.jpg", "ridge"),
    ]
    assert [row["labels"] for row in rows] == labels


PACKAGE = {
    "datapackage.json": json.dumps(
        {
            "profile": "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0/camtrap-dp-profile.json",
            "resources": [
                {
                    "name": name,
                    "path": f"{name}.csv",
                    "profile": "tabular-data-resource",
                }
                for name in ("deployments", "media", "observations")
            ],
        }
    ),
    "deployments.csv": "deploymentID,locationID,deploymentStart,deploymentEnd\n"
    "d,ridge,2020-05-30T00:00:00Z,2020-06-30T00:00:00Z\n",
    "media.csv": "mediaID,deploymentID,timestamp,filePath,filePublic,fileMediatype\n"
    "1,d,2020-05-30T04:57:37Z,m/1.jpg,true,image/jpeg\n"
    "2,d,2020-05-30T05:57:37Z,m/2.jpg,true,image/jpeg\n",
    "observations.csv": "observationID,deploymentID,mediaID,eventStart,eventEnd,"
    "observationLevel,observationType,scientificName,classificationMethod\n"
    "1,d,1,2020-05-30T04:57:37Z,2020-05-30T04:57:37Z,media,animal,elk,human\n"
    "2,d,2,2020-05-30T05:57:37Z,2020-05-30T05:57:37Z,media,animal,fox,machine\n",
}


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
@pytest.mark.parametrize("place", ["folder", "dataset"])
def test_names_that_are_not_utf_8_are_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / name).mkdir()
    source = tmp_path / name / "labels.csv"
    source.write_text("file,label,location\na.jpg,fox,x\n")
    megadb = tmp_path / (name if place == "folder" else "plain") / "megadb"
    columns = "file=file,label=label,location=location"
    words = [str(source), "--columns", columns, "--logdir", str(tmp_path)]
    words += ["--dataset", name if place == "dataset" else "d"]
    assert import_metadata.main([*words, "--megadb", str(megadb)]) == 1
    assert "not UTF-8" in capsys.readouterr().err.splitlines()[-1]
    assert (
        import_metadata.main(
            [*words, "--megadb", str(tmp_path / "m"), "--dataset", "d"]
        )
        == 0
    )


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_a_store_below_a_folder_that_is_not_utf_8_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    write_store(folder, {"d": [{"file": "a.jpg", "labels": ["fox"], "location": "x"}]})
    with pytest.raises(StorageError, match="not UTF-8"):
        store.summarize(folder)
