"""Crops whose label looks wrong, listed as the original does, and in one ranked table."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification import identify_mislabeled_candidates
from classification.artifacts import label_index, mislabeled_candidates, predictions
from classification.artifacts.mislabeled_candidates import Candidate
from classification.artifacts.predictions import Evaluated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
LABELS = ("bear", "deer", "fox")
ROWS = [
    ("a/x/1.jpg___crop00_mdv4.1.jpg", "bear", [0.9, 0.1, 0.0]),
    ("a/x/1.jpg___crop01_mdv4.1.jpg", "deer", [0.9, 0.1, 0.0]),
    ("a/x/1.jpg___crop02_mdv4.1.jpg", "fox", [0.8, 0.1, 0.1]),
    ("a/2.jpg___crop00.jpg", "deer", [0.3, 0.2, 0.5]),
    ("b/3.jpg___crop00.jpg", "deer", [0.1, 0.8, 0.1]),
]


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    folder = tmp_path / "run/20261122_204715"
    label_index.write(tmp_path / "run" / label_index.FILENAME, LABELS)
    write(folder / "outputs_test.csv.gz", ROWS)
    return folder


def write(
    path: Path,
    rows: Sequence[tuple[str, str, list[float]]],
    labels: Sequence[str] = LABELS,
) -> None:
    batch = Evaluated(
        [row[0] for row in rows],
        [row[1] for row in rows],
        np.ones(len(rows), np.float32),
        np.array([row[2] for row in rows], np.float32),
    )
    predictions.write_evaluated(path, labels, [batch])


def identify(logdir: Path, *words: str) -> int:
    return identify_mislabeled_candidates.main([str(logdir), *words])


def table(logdir: Path) -> list[Candidate]:
    return list(mislabeled_candidates.read(logdir / "mislabeled_candidates.csv"))


def lists(logdir: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in logdir.glob("*.txt")}


def last_line(capsys: Capture) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_images_are_listed_as_the_original_does(logdir: Path, capsys: Capture) -> None:
    assert identify(logdir, "--splits", "test") == 0
    assert lists(logdir) == {
        "mislabeled_candidates_test_a.txt": "x/1.jpg\n",
        "mislabeled_candidates_test_b.txt": "",
    }
    assert last_line(capsys) == (
        f"{logdir}/mislabeled_candidates.csv: 2 candidates (test: 2 of 5 crops)"
    )
    assert identify(logdir, "--splits", "test", "-d", "--margin", "0.3") == 0
    assert lists(logdir)["mislabeled_candidates_test_a.txt"] == "a/2.jpg\na/x/1.jpg\n"


def test_the_table_ranks_all_splits_together(logdir: Path) -> None:
    write(logdir / "outputs_folds.csv.gz", ROWS[1:])
    assert identify(logdir, "--splits", "test", "folds", "--margin", "0.3") == 0
    path, other = ROWS[1][0], ROWS[2][0]
    first = Candidate(path, "a", "folds", "deer", "bear", 0.1, 0.9, 0.8)
    second = Candidate(other, "a", "folds", "fox", "bear", 0.1, 0.8, 0.7)
    third = Candidate(ROWS[3][0], "a", "folds", "deer", "fox", 0.2, 0.5, 0.3)
    assert table(logdir) == [
        row._replace(split=split)
        for row in (first, second, third)
        for split in ("folds", "test")
    ]
    header = (logdir / "mislabeled_candidates.csv").read_text().splitlines()[0]
    assert header == (
        "path,dataset,split,label,predicted,label_probability,predicted_probability,score"
    )


def test_d18_right_predictions_are_never_listed(logdir: Path) -> None:
    rows = [*ROWS, ("b/4.jpg___crop00.jpg", "fox", [0.0, 0.5, 0.5])]
    write(logdir / "outputs_test.csv.gz", rows)
    assert identify(logdir, "--splits", "test", "--margin", "0") == 0
    assert {row.path for row in table(logdir)} == {row[0] for row in ROWS[1:4]}
    assert all(row.label != row.predicted for row in table(logdir))


def test_confident_learning_takes_what_is_below_what_is_normal(logdir: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(600):
        true, given = number % 3, number % 3
        if number % 20 == 0:
            given = (true + 1) % 3
        logits = rng.normal(0, 1, 3)
        logits[true] += 4
        sure = np.exp(logits) / np.exp(logits).sum()
        rows.append((f"a/{number}.jpg___crop00.jpg", LABELS[given], sure.tolist()))
    write(logdir / "outputs_folds.csv.gz", rows)
    words = ["--splits", "folds", "--method", "confident-learning"]
    assert identify(logdir, *words) == 0
    found = table(logdir)
    flipped = {f"a/{number}.jpg___crop00.jpg" for number in range(0, 600, 20)}
    assert len({row.path for row in found} & flipped) >= 27
    assert {row.path for row in found[:20]} <= flipped
    first = (logdir / "mislabeled_candidates.csv").read_bytes()
    assert identify(logdir, *words) == 0
    assert (logdir / "mislabeled_candidates.csv").read_bytes() == first


def test_the_label_index_may_be_beside_the_outputs_or_missing(
    logdir: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_index.write(logdir / label_index.FILENAME, [*LABELS, "other"])
    assert identify(logdir, "--splits", "test") == 1
    assert last_line(capsys) == (
        f"error: {logdir}/outputs_test.csv.gz: its columns are not the labels of "
        f"{logdir}/label_index.json"
    )
    (logdir / label_index.FILENAME).unlink()
    label_index.write(logdir.parent / label_index.FILENAME, ["bear"])
    monkeypatch.chdir(logdir)
    assert identify_mislabeled_candidates.main([".", "--splits", "test"]) == 1
    (logdir.parent / label_index.FILENAME).unlink()
    assert identify_mislabeled_candidates.main([".", "--splits", "test"]) == 0
    assert len(table(logdir)) == 2


def test_train_is_said_to_be_no_ground_to_judge_on(
    logdir: Path, capsys: Capture
) -> None:
    write(logdir / "outputs_train.csv.gz", ROWS)
    assert identify(logdir, "--splits", "train") == 0
    assert "train_classifier --folds" in capsys.readouterr().err


def test_a_name_that_no_line_can_hold_is_in_the_table_alone(
    logdir: Path, capsys: Capture
) -> None:
    name = "a/x\ny.jpg___crop00.jpg"
    write(logdir / "outputs_test.csv.gz", [(name, "deer", [0.9, 0.1, 0.0])])
    assert identify(logdir, "--splits", "test") == 0
    assert [row.path for row in table(logdir)] == [name]
    assert lists(logdir) == {"mislabeled_candidates_test_a.txt": ""}
    assert "a line break; in no list" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "a/1.jpg,wolf,1,0.1,0.8,0.1",
            "row 3, column label: 'wolf' is no column of the file",
        ),
        (
            "a/1.jpg,bear,1,nan,0.8,0.1",
            "row 3, column bear: 'nan' is not a number between 0 and 1",
        ),
        ("../1.jpg,bear,1,0.1,0.8,0.1", "row 3, column path: '../1.jpg' leaves its"),
        (
            "1.jpg,bear,1,0.1,0.8,0.1",
            "row 3, column path: '1.jpg' does not begin with a dataset",
        ),
    ],
)
def test_outputs_that_are_broken_are_one_line(
    logdir: Path, row: str, message: str, capsys: Capture
) -> None:
    text = f"path,label,weight,bear,deer,fox\na/0.jpg,bear,1,0.1,0.8,0.1\n{row}\n"
    path = logdir / "outputs_val.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert identify(logdir, "--splits", "val") == 1
    line = last_line(capsys)
    assert line.startswith(f"error: {path}: ")
    assert message in line
    assert not (logdir / "mislabeled_candidates.csv").exists()


def test_outputs_without_labels_or_that_are_missing(
    logdir: Path, capsys: Capture
) -> None:
    assert identify(logdir, "--splits", "folds") == 1
    assert last_line(capsys) == (
        f"error: {logdir}/outputs_folds.csv.gz: missing; train_classifier --folds K "
        "writes it"
    )
    predictions.write(
        logdir / "outputs_val.csv.gz", LABELS, [(["a/1.jpg"], np.ones((1, 3)) / 3)]
    )
    assert identify(logdir, "--splits", "val") == 1
    assert "no column label" in last_line(capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: --splits"),
        (["--splits", "all"], "invalid choice: 'all'"),
        (["--splits", "test", "--margin", "1.5"], "1.5 is not between 0 and 1"),
        (
            ["--splits", "test", "--margin", "0.5", "--method", "confident-learning"],
            "--margin is for --method margin",
        ),
    ],
)
def test_d35_what_is_asked_for_wrongly_is_a_usage_error(
    logdir: Path, words: list[str], said: str, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as ending:
        identify(logdir, *words)
    assert ending.value.code == 2
    assert said in capsys.readouterr().err


def test_datasets_whose_lists_a_disk_takes_for_one_share_it(
    logdir: Path, capsys: Capture
) -> None:
    rows = [
        ("a/1.jpg___crop00.jpg", "deer", [0.9, 0.1, 0.0]),
        ("A/2.jpg___crop00.jpg", "deer", [0.9, 0.1, 0.0]),
    ]
    write(logdir / "outputs_test.csv.gz", rows)
    assert identify(logdir, "--splits", "test", "-d") == 0
    [listed] = logdir.glob("mislabeled_candidates_test_*.txt")
    assert listed.read_text() == "A/2.jpg\na/1.jpg\n"
    assert "a: listed with the images of A" in capsys.readouterr().err
