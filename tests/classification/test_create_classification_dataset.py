from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest

from classification import create_classification_dataset

if TYPE_CHECKING:
    from pathlib import Path

LOCATIONS = 9


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    queried: dict[str, Any] = {}
    cached = []
    for number in range(4 * LOCATIONS):
        file = f"x/{number:03}.jpg"
        label = ("deer", "bird")[number % 2]
        queried[f"d/{file}"] = {
            "dataset": "d",
            "location": number % LOCATIONS,
            "class": label,
            "label": [label],
        }
        box = {"category": "1", "conf": 0.9, "bbox": [0, 0, 0.5, 0.5]}
        cached.append({"file": file, "detections": [{**box, "conf": 0.1}, box]})
        crop = tmp_path / f"crops/d/{file}___crop01_mdv4.1.jpg"
        crop.parent.mkdir(parents=True, exist_ok=True)
        if number != 7:
            crop.write_bytes(b"x")
    cached[5] = {"file": "x/005.jpg", "detections": None, "failure": "truncated"}
    cached[6] = {"file": "x/006.jpg", "detections": []}
    del cached[8]
    (tmp_path / "run").mkdir()
    (tmp_path / "run/queried_images.json").write_text(
        json.dumps(queried), encoding="utf-8"
    )
    (tmp_path / "mdcache/v4.1").mkdir(parents=True)
    document = {
        "info": {"detector": "md_v4.1.0.pb", "format_version": "1.0"},
        "detection_categories": {"1": "animal"},
        "images": cached,
    }
    (tmp_path / "mdcache/v4.1/d.json").write_text(
        json.dumps(document), encoding="utf-8"
    )
    return tmp_path


CSV = "run --mode csv -c crops -d mdcache -v 4.1"
SPLITS = "run --mode splits --val-frac 0.2 --test-frac 0.2"


def run(line: str) -> int:
    return create_classification_dataset.main(line.split())


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_splits(base: Path) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = json.loads(
        (base / "run/splits.json").read_bytes()
    )
    return found


def test_d40_d49_crops_become_rows_and_the_rest_is_listed_with_its_reason(
    base: Path,
) -> None:
    assert run(CSV) == 0
    rows = read_rows(base / "run/classification_ds.csv")
    assert len(rows) == 4 * LOCATIONS - 4
    assert rows[0] == {
        "path": "d/x/000.jpg___crop01_mdv4.1.jpg",
        "dataset": "d",
        "location": "0",
        "dataset_class": "deer",
        "confidence": "0.9",
        "label": "deer",
    }
    index = json.loads((base / "run/label_index.json").read_bytes())
    assert index == {"0": "bird", "1": "deer"}
    left_out = read_rows(base / "run/classification_ds_left_out.csv")
    assert [(row["item"], row["reason"]) for row in left_out] == [
        ("d/x/005.jpg", "the detector failed"),
        ("d/x/006.jpg", "no animal is sure enough"),
        ("d/x/007.jpg___crop01_mdv4.1.jpg", "the crop is missing"),
        ("d/x/008.jpg", "the detection cache does not have it"),
    ]


def test_d29_the_only_version_of_the_cache_needs_no_flag(base: Path) -> None:
    assert run("run --mode csv -c crops -d mdcache") == 0
    assert len(read_rows(base / "run/classification_ds.csv")) == 4 * LOCATIONS - 4


@pytest.mark.parametrize("method", ["balanced", "random", "smallest_first"])
def test_d5_every_method_splits_by_location(
    base: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(CSV) == 0
    assert run(f"{SPLITS} --method {method}") == 0
    found = read_splits(base)
    assert list(found) == ["train", "val", "test"]
    places = [tuple(place) for part in found.values() for place in part]
    assert sorted(places) == [("d", str(i)) for i in range(LOCATIONS)]
    first = (base / "run/splits.json").read_bytes()
    assert "deer" in capsys.readouterr().out
    assert run(f"{SPLITS} --method {method}") == 0
    assert (base / "run/splits.json").read_bytes() == first


@pytest.mark.parametrize("method", ["balanced", "random", "smallest_first"])
def test_d6_a_test_set_is_taken_over(base: Path, method: str) -> None:
    assert run(CSV) == 0
    assert run(SPLITS) == 0
    test = read_splits(base)["test"]
    (base / "old.csv").write_bytes((base / "run/classification_ds.csv").read_bytes())
    (base / "old.json").write_bytes((base / "run/splits.json").read_bytes())
    line = CSV.replace("--mode csv", "--mode csv splits --val-frac 0.2 --min-locs 2")
    assert run(f"{line} --match-test old.csv old.json --method {method}") == 0
    assert read_splits(base)["test"] == test
    rows = read_rows(base / "run/classification_ds.csv")
    last = [["d", row["location"]] in test for row in rows]
    assert last == sorted(last)
    assert len(rows) == 4 * LOCATIONS - 4


@pytest.mark.usefixtures("base")
def test_min_locs_drops_a_label(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"{CSV} --min-locs {LOCATIONS + 1}") == 1
    err = capsys.readouterr().err
    assert "--min-locs drops bird, deer" in err
    assert "no crop is left" in err


def test_a_single_location_cannot_be_split(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = base / "run/classification_ds.csv"
    path.write_text(
        "path,dataset,location,dataset_class,confidence,label\nd/a,d,1,c,1,x\n",
        encoding="utf-8",
    )
    assert run(SPLITS) == 1
    assert "import_metadata --location-from day" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "run --mode csv",
        "run --mode splits --val-frac 0.2",
        "run --mode splits --val-frac 0.6 --test-frac 0.4",
        "run --mode splits --val-frac 0.2 --test-frac 0.2 --match-test a b",
    ],
)
def test_usage_errors(base: Path, line: str) -> None:
    assert base.exists()
    with pytest.raises(SystemExit) as ending:
        run(line)
    assert ending.value.code == 2
