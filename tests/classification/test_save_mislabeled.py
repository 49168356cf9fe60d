"""Findings of a review are merged into the lists of wrong labels, which queries use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification import (
    identify_mislabeled_candidates,
    json_validator,
    save_mislabeled,
)
from classification.artifacts import (
    mislabeled,
    mislabeled_candidates,
    predictions,
    queried_images,
    timelapse_csv,
)
from classification.artifacts.predictions import Evaluated
from classification.artifacts.timelapse_csv import Mislabeled
from classification.runtime import locking
from tests.world import DEER_AND_BIRDS, write_store, write_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
HEADER = "File,RelativePath,mislabeled,correct_class\n"


@pytest.fixture
def container(tmp_path: Path) -> Path:
    folder = tmp_path / "classifier-training"
    folder.mkdir()
    return folder


def save(container: Path, text: str, *options: str) -> int:
    path = container.parent / "review.csv"
    path.write_text(HEADER + text, encoding="utf-8")
    return save_mislabeled.main([str(container), str(path), *options])


def saved(container: Path) -> dict[str, dict[str, str]]:
    folder = container / "megadb_mislabeled"
    return {path.name: mislabeled.read(path) for path in sorted(folder.iterdir())}


def last_line(capsys: Capture) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_a_review_makes_the_folder_and_a_file_for_each_dataset(
    container: Path, capsys: Capture
) -> None:
    rows = "b.jpg,idfg\\x,true,fox\na.jpg,idfg\\x,true,\nc.jpg,caltech,true,deer\n"
    assert save(container, rows + "d.jpg,caltech,false,\n") == 0
    assert saved(container) == {
        "caltech.csv": {"c.jpg": "deer"},
        "idfg.csv": {"x/a.jpg": "", "x/b.jpg": "fox"},
    }
    assert last_line(capsys) == (
        f"{container}/megadb_mislabeled: caltech: 1 added, 0 changed, 0 unchanged; "
        "idfg: 2 added, 0 changed, 0 unchanged"
    )
    assert [path.name for path in container.iterdir()] == ["megadb_mislabeled"]


def test_the_same_again_changes_nothing(container: Path, capsys: Capture) -> None:
    rows = "a.jpg,d,true,fox\na.jpg,d,true,fox\n"
    assert save(container, rows) == 0
    path = container / "megadb_mislabeled/d.csv"
    before = path.stat().st_mtime_ns
    assert save(container, rows) == 0
    assert path.stat().st_mtime_ns == before
    assert last_line(capsys).endswith("d: 0 added, 0 changed, 1 unchanged")


def test_d20_images_in_the_root_of_their_dataset(container: Path) -> None:
    assert save(container, "a.jpg,d,true,fox\nb.jpg,d\\,true,\n") == 0
    assert saved(container) == {"d.csv": {"a.jpg": "fox", "b.jpg": ""}}


def test_d34_an_entry_is_changed_on_request_alone(
    container: Path, capsys: Capture
) -> None:
    assert save(container, "a.jpg,d,true,fox\nb.jpg,e,true,\n") == 0
    changed = "a.jpg,d,true,deer\nb.jpg,e,true,owl\nc.jpg,d,true,\n"
    before = saved(container)
    assert save(container, changed) == 1
    assert saved(container) == before
    assert last_line(capsys) == (
        f"error: {container}/megadb_mislabeled/d.csv: 'a.jpg' is known to be 'fox'; the "
        "review says 'deer'. --overwrite lets the review be right"
    )
    assert save(container, changed, "--overwrite") == 0
    assert saved(container) == {
        "d.csv": {"a.jpg": "deer", "c.jpg": ""},
        "e.csv": {"b.jpg": "owl"},
    }
    told = capsys.readouterr().err.splitlines()
    assert told[:2] == [
        "d/a.jpg: 'fox' becomes 'deer'",
        "e/b.jpg: '' becomes 'owl'",
    ]
    assert told[2].endswith(
        "d: 1 added, 1 changed, 0 unchanged; e: 0 added, 1 changed, 0 unchanged"
    )


def test_d34_a_column_of_empty_classes_is_merged(container: Path) -> None:
    assert save(container, "a.jpg,d,true,\n") == 0
    assert save(container, "b.jpg,d,true,fox\n") == 0
    assert save(container, "c.jpg,d,true,\n") == 0
    assert saved(container) == {"d.csv": {"a.jpg": "", "b.jpg": "fox", "c.jpg": ""}}


def test_a_dry_run_writes_nothing(container: Path, capsys: Capture) -> None:
    assert save(container, "a.jpg,d,true,fox\n", "--dry-run") == 0
    assert last_line(capsys).endswith(
        "d: 1 added, 0 changed, 0 unchanged; nothing was written"
    )
    assert not list(container.iterdir())
    assert save(container, "a.jpg,d,true,fox\n") == 0
    assert save(container, "a.jpg,d,true,deer\n", "--dry-run") == 1


def test_d43_no_dataset_leads_out_of_the_folder(
    container: Path, capsys: Capture
) -> None:
    assert save(container, "a.jpg,..\\x,true,fox\n") == 1
    assert "row 2, column RelativePath: '../x' leaves its folder" in last_line(capsys)
    assert not list(container.iterdir())
    assert not (container.parent / "x.csv").exists()


def test_d39_two_runs_cannot_overwrite_each_other(
    container: Path, capsys: Capture
) -> None:
    with locking.exclusive(container / "megadb_mislabeled"):
        assert save(container, "a.jpg,d,true,fox\n") == 1
    assert "another run is writing" in last_line(capsys)
    assert save(container, "a.jpg,d,true,fox\n") == 0


def test_names_of_datasets_are_compared_without_case(container: Path) -> None:
    assert save(container, "a.jpg,Caltech,true,fox\n") == 0
    assert save(container, "b.jpg,CALTECH,true,\nc.jpg,caltech,true,\n") == 0
    assert saved(container) == {
        "Caltech.csv": {"a.jpg": "fox", "b.jpg": "", "c.jpg": ""}
    }


def test_a_review_that_contradicts_itself_is_refused(
    container: Path, capsys: Capture
) -> None:
    rows = "a.jpg,d,true,fox\nb.jpg,d,true,\na.jpg,D,true,deer\n"
    assert save(container, rows, "--overwrite") == 1
    assert last_line(capsys) == (
        f"error: {container.parent}/review.csv: row 4, column correct_class: 'deer', but "
        "row 2 says 'fox' of the same image"
    )


def test_a_review_that_marks_nothing_makes_the_folder(
    container: Path, capsys: Capture
) -> None:
    assert save(container, "a.jpg,d,false,\n") == 0
    assert saved(container) == {}
    assert last_line(capsys).endswith(": no image is marked as mislabeled")


def test_what_is_not_there_is_one_line(container: Path, capsys: Capture) -> None:
    assert save_mislabeled.main([str(container), "nowhere.csv"]) == 1
    assert last_line(capsys).startswith("error: nowhere.csv: cannot read")
    assert save(container / "nowhere", "a.jpg,d,true,fox\n") == 1
    assert last_line(capsys) == f"error: no such folder: {container}/nowhere"


def test_the_loop_is_closed(
    container: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs show a wrong label, a review names the right one, the next query has it."""
    monkeypatch.delenv("CAMERATRAPS_MEGADB", raising=False)
    images = [{"file": f"d/{n}.jpg", "labels": ["moose"]} for n in range(4)]
    megadb = write_store(tmp_path / "megadb", {"Caltech": images})
    taxonomy = write_taxonomy(tmp_path / "taxonomy.csv", DEER_AND_BIRDS)
    spec = tmp_path / "label_spec.json"
    taxa = {"deer": ("family", "cervidae"), "bird": ("class", "aves")}
    spec.write_text(
        json.dumps(
            {k: {"taxa": [{"level": v[0], "name": v[1]}]} for k, v in taxa.items()}
        )
    )
    run = tmp_path / "run"
    crops = [f"Caltech/d/{n}.jpg___crop00.jpg" for n in range(4)]
    sure = np.array([[0.1, 0.9], [0.2, 0.8], [0.95, 0.05], [0.2, 0.8]], np.float32)
    batch = Evaluated(crops, ["deer"] * 4, np.ones(4, np.float32), sure)
    outputs = run / "20261122_204715/outputs_folds.csv.gz"
    predictions.write_evaluated(outputs, ("bird", "deer"), [batch])

    words = [str(outputs.parent), "--splits", "folds"]
    assert identify_mislabeled_candidates.main(words) == 0
    table = outputs.with_name(mislabeled_candidates.FILENAME)
    reviewed = []
    for number, row in enumerate(mislabeled_candidates.read(table), 2):
        file = row.path.removesuffix("___crop00.jpg").removeprefix("Caltech/")
        reviewed.append(Mislabeled(number, row.dataset, file, "turkey"))
    review = tmp_path / "review.csv"
    timelapse_csv.write(review, reviewed)
    assert save_mislabeled.main([str(container), str(review)]) == 0

    words = [str(spec), str(taxonomy), "--megadb", str(megadb), "-o", str(run)]
    words += ["--mislabeled-images", str(container / "megadb_mislabeled")]
    assert json_validator.main(words) == 0
    found = queried_images.read(run / queried_images.FILENAME)
    assert {name: one.labels for name, one in found.items()} == {
        "Caltech/d/0.jpg": ("deer",),
        "Caltech/d/1.jpg": ("deer",),
        "Caltech/d/2.jpg": ("bird",),
        "Caltech/d/3.jpg": ("deer",),
    }


def test_two_spellings_that_a_disk_takes_for_one_file_are_refused(
    container: Path, capsys: Capture
) -> None:
    rows = "a.jpg,caf\u00e9,true,fox\nb.jpg,cafe\u0301,true,fox\n"
    assert save(container, rows) == 1
    assert "disks may take " in last_line(capsys)
    assert not (container / "megadb_mislabeled").exists()
