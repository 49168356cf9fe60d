from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from classification.artifacts import (
    dataset_list,
    image_counts,
    image_table,
    location_counts,
    mislabeled,
    queried_images,
)
from classification.artifacts.location_counts import LocationCount
from classification.json_validator import main
from tests.web import Reply, serving, serving_folder
from tests.world import DEER_AND_BIRDS, label_row, write_store, write_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azurite import Azurite

DEER = {"taxa": [{"level": "family", "name": "cervidae"}]}
BIRD = {"taxa": [{"level": "class", "name": "aves"}]}
BLANK = {"dataset_labels": {"Caltech": ["Empty"]}}


def image(file: str, *labels: str, **columns: object) -> dict[str, Any]:
    return {"file": file, "labels": list(labels), **columns}


IMAGES = {
    "Caltech": [
        image("d/1.jpg", "moose", location="13", boxes=[]),
        image("d/2.jpg", "moose", location="7"),
        image("d/3.jpg", "empty"),
        image("d/4.jpg", "fox", location="13"),
        image("d/5.jpg", "empty", "moose"),
        image("d/6.txt", "moose", location="13"),
    ],
    "idfg": [
        image("1.jpg", "elk", location="13"),
        image("2.jpg", "bird"),
        image("3.jpg", "deer", location="13"),
    ],
}


class World:
    """A folder with a taxonomy, a store and a specification, and how to select."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spec = folder / "label_spec.json"
        self.taxonomy = write_taxonomy(folder / "taxonomy.csv", DEER_AND_BIRDS)
        self.megadb = write_store(folder / "megadb", IMAGES)
        self.output = folder / "run"
        self.specify(deer=DEER, bird=BIRD, blank=BLANK)

    def specify(self, **labels: object) -> None:
        self.spec.write_text(json.dumps(labels))

    def store(self, images: dict[str, list[dict[str, Any]]], **entry: str) -> None:
        write_store(self.megadb, images, **entry)

    def validate(self, *options: str | Path) -> int:
        return main([str(self.spec), str(self.taxonomy), *map(str, options)])

    def query(self, *options: str | Path) -> int:
        return self.validate(
            "--megadb", self.megadb, "--output-dir", self.output, *options
        )

    @property
    def images(self) -> dict[str, queried_images.QueriedImage]:
        return queried_images.read(self.output / queried_images.FILENAME)

    @property
    def log(self) -> dict[str, Any]:
        [path] = sorted(self.output.glob("json_validator_log_*.json"))[-1:]
        document: dict[str, Any] = json.loads(path.read_text())
        return document


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.delenv("CAMERATRAPS_MEGADB", raising=False)
    return World(tmp_path)


Capture = pytest.CaptureFixture[str]


def last_line(capsys: Capture) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_without_an_output_folder_the_selection_is_printed(
    world: World, capsys: Capture
) -> None:
    assert world.validate() == 0
    assert capsys.readouterr().out.splitlines() == [
        "deer\tcaltech|moose",
        "deer\tcaltech|roosevelt elk",
        "deer\tidfg|deer",
        "deer\tidfg|elk",
        "bird\tcaltech|turkey",
        "bird\tidfg|bird",
        "blank\tcaltech|empty",
    ]
    assert not world.output.exists()


def test_with_a_store_the_images_are_counted(world: World, capsys: Capture) -> None:
    assert world.validate("--megadb", world.megadb) == 0
    counts = [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()]
    assert counts == [
        ["caltech|moose", "3"],
        ["caltech|roosevelt elk", "0"],
        ["idfg|deer", "1"],
        ["idfg|elk", "1"],
        ["caltech|turkey", "0"],
        ["idfg|bird", "1"],
        ["caltech|empty", "1"],
    ]


def test_writes_everything_that_the_original_wrote(
    world: World, capsys: Capture
) -> None:
    assert world.query("--json-indent", "1") == 0
    [log] = world.output.glob("json_validator_log_*.json")
    assert {path.name for path in world.output.iterdir()} == {
        "queried_images.json",
        "queried_images_counts.csv",
        "included_dataset_labels.txt",
        "image_counts_by_label_presample.json",
        "image_counts_by_label_sampled.json",
        log.name,
    }
    assert (world.output / "queried_images.json").read_text() == "\n".join(
        [
            "{",
            ' "Caltech/d/1.jpg": {',
            '  "dataset": "Caltech",',
            '  "location": "13",',
            '  "class": "moose",',
            '  "bbox": [],',
            '  "label": [',
            '   "deer"',
            "  ]",
            " },",
            *_plain("Caltech/d/2.jpg", "Caltech", "moose", "deer", location="7"),
            *_plain("Caltech/d/3.jpg", "Caltech", "empty", "blank"),
            *_plain("idfg/1.jpg", "idfg", "elk", "deer", location="13"),
            *_plain("idfg/2.jpg", "idfg", "bird", "bird"),
            *_plain("idfg/3.jpg", "idfg", "deer", "deer", location="13")[:-1],
            " }",
            "}",
            "",
        ]
    )
    assert list(location_counts.read(world.output / location_counts.FILENAME)) == [
        LocationCount("bird", "idfg", "", 1),
        LocationCount("blank", "Caltech", "", 1),
        LocationCount("deer", "Caltech", "13", 1),
        LocationCount("deer", "Caltech", "7", 1),
        LocationCount("deer", "idfg", "13", 2),
    ]
    counts = {"deer": 4, "bird": 1, "blank": 1}
    for name in (image_counts.PRESAMPLE_FILENAME, image_counts.SAMPLED_FILENAME):
        assert image_counts.read(world.output / name) == counts
    assert world.log["nonimage_files"] == ["Caltech/d/6.txt"]
    assert "nonexistent_images" not in world.log
    assert last_line(capsys) == (
        f"6 images of 3 labels from 2 datasets in {world.output}/queried_images.json; "
        f"left out: 1 of several labels, 1 not named as images are; log: {log}"
    )


def _plain(
    name: str, dataset: str, dataset_label: str, label: str, location: str = ""
) -> list[str]:
    where = [f'  "location": "{location}",'] if location else []
    return [
        f' "{name}": {{',
        f'  "dataset": "{dataset}",',
        *where,
        f'  "class": "{dataset_label}",',
        '  "label": [',
        f'   "{label}"',
        "  ]",
        " },",
    ]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if "_log_" not in path.name
    }


def test_again_gives_the_same_bytes(world: World) -> None:
    assert world.query() == 0
    first = files_of(world.output)
    assert world.query() == 0
    assert files_of(world.output) == first
    assert b"\n" not in first["queried_images.json"][:-1]


def test_d4_a_sample_follows_the_seed_and_nothing_else(world: World) -> None:
    many = [image(f"{number:03}.jpg", "elk") for number in range(200)]
    world.store({"idfg": many})
    world.specify(deer=DEER | {"max_count": 20})
    outputs = []
    for hash_seed, threads in (("1", "1"), ("2", "2")):
        subprocess.run(
            [
                sys.executable,
                "-m",
                "classification.json_validator",
                str(world.spec),
                str(world.taxonomy),
                f"--megadb={world.megadb}",
                f"--output-dir={world.output}",
            ],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": threads},
            check=True,
            capture_output=True,
        )
        outputs.append(files_of(world.output))
    assert outputs[0] == outputs[1]
    assert len(world.images) == 20
    assert world.query("--seed", "123") == 0
    assert files_of(world.output) == outputs[0]
    assert world.query("--seed", "7") == 0
    assert len(world.images) == 20
    assert (
        files_of(world.output)["queried_images.json"]
        != outputs[0]["queried_images.json"]
    )


def test_d3_max_count_is_reached_with_priority_first(
    world: World, capsys: Capture
) -> None:
    rng = random.Random(5)
    world.store(
        {
            "IDFG": [image(f"{n:03}.jpg", "elk") for n in range(40)],
            "Caltech": [
                image(f"{n:03}.jpg", rng.choice(["moose", "roosevelt elk"]))
                for n in range(200)
            ],
        }
    )
    world.specify(deer=DEER | {"max_count": 100, "prioritize": [["idfg"]]})
    assert world.query() == 0
    datasets = [selected.dataset for selected in world.images.values()]
    assert (datasets.count("IDFG"), datasets.count("Caltech")) == (40, 60)
    presample = world.output / image_counts.PRESAMPLE_FILENAME
    assert image_counts.read(presample) == {"deer": 240}
    sampled = world.output / image_counts.SAMPLED_FILENAME
    assert image_counts.read(sampled) == {"deer": 100}
    assert world.log["counts"]["images_beyond_max_count"] == 140
    assert "; left out: 140 beyond max_count; log: " in last_line(capsys)


def test_d7_lila_names_with_capitals_are_found(world: World) -> None:
    world.store({"Caltech Camera Traps (x)": [image("a.jpg", "wapiti")]})
    row = label_row(
        "caltech camera traps (x)|wapiti",
        "genus cervus",
        "family cervidae",
        "kingdom animalia",
    )
    write_taxonomy(world.taxonomy, [row])
    limited = {
        "level": "genus",
        "name": "Cervus",
        "datasets": ["Caltech Camera Traps (X)"],
    }
    world.specify(deer={"taxa": [limited]})
    assert world.query() == 0
    [(name, selected)] = world.images.items()
    assert name == "Caltech Camera Traps (x)/a.jpg"
    assert selected.dataset_label == "wapiti"


def test_d13_a_correction_brings_an_image_in_and_out(
    world: World, capsys: Capture
) -> None:
    wrong = world.folder / "wrong"
    corrections = {
        "d/1.jpg": "fox",
        "d/2.jpg": "",
        "d/4.jpg": "Moose",
        "d/5.jpg": "empty",
        "d/9.jpg": "moosse",
    }
    mislabeled.write(wrong / "CALTECH.csv", corrections)
    assert world.query("--mislabeled-images", wrong) == 0
    classes = {
        name: selected.dataset_label
        for name, selected in world.images.items()
        if selected.dataset == "Caltech"
    }
    assert classes == {
        "Caltech/d/3.jpg": "empty",
        "Caltech/d/4.jpg": "moose",
        "Caltech/d/5.jpg": "empty",
    }
    counts = world.log["counts"]
    assert counts["images_brought_in_by_correction"] == 2
    assert counts["images_sent_out_by_correction"] == 2
    assert counts["images_relabelled_by_correction"] == 0
    assert world.log["notes"] == [
        {"item": "Caltech", "reason": "1 corrections name no image of it"},
        {
            "item": "Caltech",
            "reason": "nothing else knows its label 'moosse', of corrections; did you mean 'moose'?",
        },
    ]
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == [
        "Caltech: 1 corrections name no image of it",
        "Caltech: nothing else knows its label 'moosse', of corrections; did you mean 'moose'?",
    ]


def test_d33_corrections_and_samples_work_on_this_python(world: World) -> None:
    mislabeled.write(world.folder / "wrong/idfg.csv", {"1.jpg": ""})
    world.specify(deer=DEER | {"max_count": 1})
    assert world.query("-m", world.folder / "wrong") == 0
    assert len(world.images) == 1


def test_d35_a_store_of_local_images_needs_no_service(world: World) -> None:
    """The original asked a database for the number of its answers, and failed."""
    root = world.folder / "images"
    (root / "d").mkdir(parents=True)
    (root / "d/1.jpg").touch()
    world.store({"Caltech": IMAGES["Caltech"]}, root=str(root))
    world.specify(deer=DEER)
    assert world.query("--check-blob-exists") == 0
    assert list(world.images) == ["Caltech/d/1.jpg"]
    assert world.log["nonexistent_images"] == ["Caltech/d/2.jpg"]
    assert world.log["counts"]["nonexistent_images"] == 1


def test_a_folder_of_all_datasets_is_checked_first(world: World) -> None:
    (world.folder / "images/idfg").mkdir(parents=True)
    (world.folder / "images/idfg/1.jpg").touch()
    assert world.query("-c", world.folder / "images") == 0
    assert list(world.images) == ["idfg/1.jpg"]


def test_d10_a_store_out_of_reach_ends_the_run(world: World, capsys: Capture) -> None:
    world.store(IMAGES, root=str(world.folder / "unplugged"))
    assert world.query("-c") == 1
    assert last_line(capsys) == (
        f"error: the dataset 'Caltech': no such folder: {world.folder}/unplugged, its root "
        "in the metadata store; --check-blob-exists DIR, --base-url or --container-url "
        "says where else"
    )
    assert list(world.output.iterdir()) == []


def test_images_behind_an_address_are_asked_for(world: World) -> None:
    (world.folder / "served/d").mkdir(parents=True)
    (world.folder / "served/d/1.jpg").touch()
    world.specify(deer=DEER)
    with serving_folder(world.folder / "served") as web:
        world.store({"Caltech": IMAGES["Caltech"]}, base_url=f"{web.url}/")
        assert world.query("--check-blob-exists") == 0
    assert list(world.images) == ["Caltech/d/1.jpg"]
    assert world.log["nonexistent_images"] == ["Caltech/d/2.jpg"]


def test_images_in_a_container_are_listed(world: World, emulator: Azurite) -> None:
    world.specify(deer=DEER)
    url = emulator.container("validator", {"d/1.jpg": b"x"})
    world.store({"Caltech": IMAGES["Caltech"]}, container=url)
    given = f"Caltech={emulator.with_token(url)}"
    assert world.query("--check-blob-exists", "--container-url", given) == 0
    assert list(world.images) == ["Caltech/d/1.jpg"]
    assert world.log["nonexistent_images"] == ["Caltech/d/2.jpg"]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_d10_a_server_that_refuses_has_its_images_all_the_same(
    world: World, capsys: Capture, status: int
) -> None:
    world.specify(deer=DEER)
    with serving(Reply(status=status)) as web:
        world.store({"Caltech": IMAGES["Caltech"]}, base_url=f"{web.url}/")
        assert world.query("--check-blob-exists", "--tries", "1") == 1
    assert f"HTTP {status}" in last_line(capsys)
    assert list(world.output.iterdir()) == []


def test_a_dataset_that_is_not_needed_needs_no_folder(world: World) -> None:
    (world.folder / "images").mkdir()
    (world.folder / "images/1.jpg").touch()
    write_store(world.megadb, IMAGES)
    entries = dataset_list.read(world.megadb)
    entries["idfg"] = msgspec.structs.replace(
        entries["idfg"], root=str(world.folder / "images")
    )
    dataset_list.write(world.megadb, entries)
    world.specify(elk={"dataset_labels": {"idfg": ["elk"]}})
    assert world.query("-c") == 0
    assert list(world.images) == ["idfg/1.jpg"]


def test_labels_of_few_locations_are_left_out(world: World) -> None:
    assert world.query("--min-locs", "3") == 0
    assert {selected.labels for selected in world.images.values()} == {("deer",)}
    assert world.log["labels with < 3 locs"] == [["bird"], ["blank"]]
    presample = world.output / image_counts.PRESAMPLE_FILENAME
    assert image_counts.read(presample) == {"bird": 0, "blank": 0, "deer": 4}


def test_d35_labels_may_share_where_it_is_allowed(
    world: World, capsys: Capture
) -> None:
    elk = {"dataset_labels": {"idfg": ["elk"]}}
    world.specify(elk=elk, deer=DEER)
    assert world.query() == 1
    assert last_line(capsys) == (
        f"error: {world.spec}: deer: shares dataset labels with 'elk': 'idfg|elk'; "
        "exclude them from one, or give --allow-multilabel"
    )
    assert world.query("--allow-multilabel") == 0
    assert world.images["idfg/1.jpg"].labels == ("elk", "deer")
    assert world.images["idfg/3.jpg"].labels == ("deer",)
    sampled = world.output / image_counts.SAMPLED_FILENAME
    assert image_counts.read(sampled) == {"deer": 4, "elk": 1}


def test_an_entry_without_images_is_told(world: World, capsys: Capture) -> None:
    world.specify(deer=DEER, turkey={"dataset_labels": {"caltech": ["turkey"]}})
    world.store({"Caltech": [image("1.jpg", "moose"), image("2.jpg", "turkeys")]})
    assert world.query() == 0
    remark = "caltech|turkey matches no image of the store; it has 'caltech|turkeys'"
    assert world.log["notes"] == [
        {"item": "turkey.dataset_labels.caltech[0]", "reason": remark}
    ]
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == [
        f"turkey.dataset_labels.caltech[0]: {remark}",
        "no image of 'turkey' is selected",
    ]


def test_an_exclusion_of_nothing_is_told(world: World) -> None:
    exclude = {
        "dataset_labels": {"idfg": ["elk"]},
        "taxa": [{"level": "class", "name": "aves"}],
    }
    world.specify(deer=DEER | {"exclude": exclude})
    assert world.query() == 0
    assert "idfg/1.jpg" not in world.images
    assert world.log["notes"] == [
        {
            "item": "deer.exclude.taxa[0]",
            "reason": "the label takes nothing of class aves anyway",
        }
    ]


def test_many_remarks_are_told_briefly(world: World, capsys: Capture) -> None:
    taxa = [{"level": "class", "name": "aves"}] * 8
    world.specify(deer=DEER, bird={"taxa": taxa})
    world.store({"Caltech": [image("1.jpg", "moose")]})
    assert world.query() == 0
    assert "3 more remarks like these are in the log" in capsys.readouterr().err
    assert len(world.log["notes"]) == 8


def test_no_image_at_all_is_a_failure(world: World, capsys: Capture) -> None:
    world.store({"Caltech": [image("1.jpg", "fox")]})
    assert world.query() == 1
    [log] = world.output.iterdir()
    assert last_line(capsys) == (
        f"error: no image is selected; {log} says what was left out"
    )


def test_single_parent_refuses_what_a_rule_would_settle(
    world: World, capsys: Capture
) -> None:
    rows = [
        label_row("a|x", "genus g", "family f", "order o"),
        label_row("a|y", "genus g", "order o"),
    ]
    write_taxonomy(world.taxonomy, rows)
    world.specify(g={"taxa": [{"level": "genus", "name": "g"}]})
    assert world.validate() == 0
    capsys.readouterr()
    assert world.validate("--single-parent-taxonomy") == 1
    assert last_line(capsys) == (
        f"error: {world.taxonomy}: taxa with several parents: genus g (below family f, "
        "order o)"
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "expected at least one label"),
        ({"": DEER}, "a label without a name"),
        (
            {"deer, elk": DEER},
            "the label 'deer, elk': a comma stands between two labels",
        ),
        (
            {"weight": DEER},
            (
                "the label 'weight': reserved, as tables with a column per label call "
                "another column so; choose another name"
            ),
        ),
        (
            {"deer": DEER | {"prioritize": [["idfg"]]}},
            "deer.prioritize: needs max_count",
        ),
    ],
)
def test_a_broken_specification_is_one_line(
    spec: dict[str, object], message: str, world: World, capsys: Capture
) -> None:
    world.specify(**spec)
    assert world.query() == 1
    assert capsys.readouterr().err == f"error: {world.spec}: {message}\n"
    assert not world.output.exists() or list(world.output.iterdir()) == []


def test_a_damaged_table_is_one_line(world: World, capsys: Capture) -> None:
    path = image_table.path_of(world.megadb, "idfg")
    path.write_bytes(path.read_bytes()[:-20])
    assert world.query() == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: no table of images: ")
    assert list(world.output.iterdir()) == []


def test_an_unsorted_table_leaves_no_half_written_file(
    world: World, capsys: Capture
) -> None:
    world.store({"idfg": [image("2.jpg", "elk"), image("1.jpg", "elk")]})
    assert world.query() == 1
    assert "'1.jpg' stands after '2.jpg'" in last_line(capsys)
    assert not (world.output / queried_images.FILENAME).exists()
    assert [path for path in world.output.iterdir() if path.name.startswith(".")] == []


def test_missing_folders_are_one_line(world: World, capsys: Capture) -> None:
    no = world.folder / "no"
    assert world.query("--mislabeled-images", no) == 1
    assert last_line(capsys) == f"error: no such folder: {no} (--mislabeled-images)"
    assert world.validate("--megadb", no) == 1
    assert last_line(capsys) == (
        f"error: {no}/datasets.json: missing; import_metadata makes a metadata store"
    )


@pytest.mark.parametrize("option", [["--output-dir", "run"], ["--explain", "a/b.jpg"]])
def test_a_query_needs_a_store(
    option: list[str], world: World, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as ending:
        world.validate(*option)
    assert ending.value.code == 2
    assert last_line(capsys).endswith(
        "error: --output-dir and --explain need --megadb DIR, the metadata store that "
        "import_metadata writes (or the environment variable CAMERATRAPS_MEGADB)"
    )


def test_the_store_may_come_from_the_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERATRAPS_MEGADB", str(world.megadb))
    assert world.validate("-o", world.output) == 0
    assert len(world.images) == 6


def test_explain_says_why_and_writes_nothing(world: World, capsys: Capture) -> None:
    table = image_table.path_of(world.megadb, "Caltech")
    names = ["caltech/d/1.jpg", "Caltech/d/4.jpg", "Caltech/d/7.jpg", "x/y.jpg"]
    options = [option for name in names for option in ("--explain", name)]
    assert world.query(*options) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Caltech/d/1.jpg: selected as 'deer'",
        f"  row 0 of {table}: labels 'moose', location '13'",
        "  deer.taxa[0] (family cervidae) takes caltech|moose",
        "Caltech/d/4.jpg: not selected: no label wants caltech|fox",
        f"  row 3 of {table}: labels 'fox', location '13'",
        "Caltech/d/7.jpg: not in the store; it has Caltech/d/1.jpg, Caltech/d/2.jpg, Caltech/d/3.jpg",
        "x/y.jpg: not in the store; a full name begins with a dataset, here one of 'Caltech', 'idfg'",
    ]
    assert list(world.output.iterdir()) == []


def test_explain_names_the_filter_that_took_an_image_out(
    world: World, capsys: Capture
) -> None:
    images, wrong = world.folder / "images", world.folder / "wrong"
    for name in ("Caltech/d/1.jpg", "Caltech/d/3.jpg"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    mislabeled.write(wrong / "idfg.csv", {"3.jpg": ""})
    names = ["Caltech/d/2.jpg", "Caltech/d/3.jpg", "Caltech/d/6.txt", "idfg/3.jpg"]
    options = [option for name in names for option in ("--explain", name)]
    filters = ["-c", images, "-m", wrong, "--min-locs", "2"]
    assert world.query(*filters, *options) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if not line.startswith("  ")] == [
        "Caltech/d/2.jpg: not selected: there is no such file (--check-blob-exists)",
        "Caltech/d/3.jpg: not selected: 'blank' has fewer than 2 locations (--min-locs)",
        "Caltech/d/6.txt: not selected: its name does not end as that of an image",
        "idfg/3.jpg: not selected: its label is wrong, and nobody knows the right one",
    ]


def test_explain_agrees_with_the_sample(world: World, capsys: Capture) -> None:
    world.store({"idfg": [image(f"{n}.jpg", "elk") for n in range(9)]})
    world.specify(deer=DEER | {"max_count": 4})
    assert world.query() == 0
    selected = set(world.images)
    capsys.readouterr()
    names = [f"idfg/{n}.jpg" for n in range(9)]
    options = [option for name in names for option in ("--explain", name)]
    assert world.validate("--megadb", world.megadb, *options) == 0
    told = capsys.readouterr().out.splitlines()
    said = {
        line.split(":")[0] for line in told if line.endswith(": selected as 'deer'")
    }
    assert said == selected
    assert (
        sum(
            "not among the images that were drawn, 4 of 'deer'" in line for line in told
        )
        == 5
    )


def test_hostile_names_stay_on_one_line(world: World, capsys: Capture) -> None:
    name = "idfg/\x1b[31m\n.jpg"
    assert world.validate("--megadb", world.megadb, "--explain", name) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(r"idfg/\x1b[31m\n.jpg: not in the store; it has idfg/")
