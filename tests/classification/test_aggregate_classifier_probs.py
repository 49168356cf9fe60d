from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.aggregate_classifier_probs import main
from classification.artifacts import (
    label_index,
    predictions,
    predictions_info,
    target_mapping,
)
from classification.artifacts.predictions_info import Origin
from classification.runtime import cli

if TYPE_CHECKING:
    from pathlib import Path

CATEGORIES = ("bear", "elk", "moose", "cat")
MAPPING = {"deer": ("elk", "moose"), "carnivore": ("bear",), "other": ("cat",)}


class Files:
    """What the command reads and writes."""

    def __init__(self, folder: Path) -> None:
        self.results = folder / "classifier_output.csv.gz"
        self.mapping = folder / "target_to_classifier_labels.json"
        self.remapped = folder / "remapped.csv"
        self.index = folder / "label_index_remapped.json"
        target_mapping.write(self.mapping, MAPPING)

    def write(self, rows: int = 3) -> list[str]:
        numbers = np.random.default_rng(0).dirichlet(np.ones(4), rows)
        paths = [f"{row}.jpg___crop00_x.jpg" for row in range(rows)]
        block = (paths, numbers.astype(np.float32))
        predictions.write(self.results, CATEGORIES, [block])
        return paths

    def run(self) -> int:
        outputs = ["-o", str(self.remapped), "-i", str(self.index)]
        return main([str(self.results), "-t", str(self.mapping), *outputs])


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize("target", [{}, {"hog": []}])
def test_d28_a_target_that_matched_nothing_is_absent_or_empty(
    files: Files, target: dict[str, list[str]]
) -> None:
    files.mapping.write_text(json.dumps({**MAPPING, **target}))
    files.write()
    assert files.run() == cli.EXIT_OK
    assert label_index.read(files.index) == ("carnivore", "deer", "other")


def test_what_probabilities_are_of_is_carried_on(files: Files) -> None:
    files.write()
    applied = predictions_info.Applied(
        method="vector", temperature=None, crops=9, ece_before=0.25, ece_after=0.125
    )
    rows = len(next(predictions.open_file(files.results).batches()).paths)
    boxes = np.arange(8 * rows, dtype=np.uint8).reshape(rows, 8)
    predictions_info.tell(files.results, Origin(applied, boxes))
    assert files.run() == cli.EXIT_OK
    found = predictions_info.find(files.remapped)
    assert found.calibration == applied
    assert (found.boxes == boxes).all()  # the rows are the same
    predictions_info.tell(files.results, Origin())
    assert files.run() == cli.EXIT_OK
    assert not predictions_info.path_beside(files.remapped).exists()


def test_targets_are_sorted_and_hold_sums(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.results.write_bytes(
        gzip.compress(
            b"path,bear,elk,moose,cat\nx.jpg___crop00.jpg,0.1,0.25,0.5,0.15\n"
        )
    )
    assert files.run() == cli.EXIT_OK
    assert files.remapped.read_text() == (
        "path,carnivore,deer,other\nx.jpg___crop00.jpg,0.1,0.75,0.15\n"
    )
    assert label_index.read(files.index) == ("carnivore", "deer", "other")
    assert capsys.readouterr().err == (
        f"wrote {files.remapped}: 1 crops, 4 categories summed to 3 targets; "
        f"their names are in {files.index}\n"
    )


def test_rows_keep_their_order_over_many_batches(files: Files) -> None:
    paths = files.write(10_000)
    assert files.run() == cli.EXIT_OK
    batches = list(predictions.open_file(files.remapped).float64_batches())
    assert [name for batch in batches for name in batch.paths] == paths
    sums = np.concatenate([batch.probabilities for batch in batches]).sum(axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-6)


def test_the_same_input_gives_the_same_bytes(files: Files) -> None:
    files.write()
    files.remapped = files.remapped.with_suffix(".csv.gz")
    assert files.run() == cli.EXIT_OK
    before = [files.remapped.read_bytes(), files.index.read_bytes()]
    assert files.run() == cli.EXIT_OK
    assert [files.remapped.read_bytes(), files.index.read_bytes()] == before


def test_d26_bare_output_names_are_fine(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write()
    monkeypatch.chdir(tmp_path)
    inputs = [str(files.results), "--target-mapping", str(files.mapping)]
    outputs = ["--output-csv", "bare.csv.gz", "--output_label_index", "bare.json"]
    assert main([*inputs, *outputs]) == cli.EXIT_OK
    assert (tmp_path / "bare.csv.gz").exists()
    assert (tmp_path / "bare.json").exists()


def refuse(files: Files, capsys: pytest.CaptureFixture[str], message: str) -> None:
    assert files.run() == cli.EXIT_FAILED
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not files.remapped.exists()
    assert not files.index.exists()


def test_a_mapping_of_another_classifier_is_refused(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write()
    target_mapping.write(files.mapping, {**MAPPING, "bird": ["emu", "owl"]})
    refuse(
        files,
        capsys,
        "the classifier output has no column 'emu', 'owl'; the mapping was made for "
        "another classifier",
    )


def test_a_column_without_target_is_refused(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write()
    target_mapping.write(files.mapping, {"deer": ["elk", "moose", "bear"]})
    refuse(
        files,
        capsys,
        "no target takes the column 'cat'; map_classification_categories puts such "
        "labels under other",
    )


def test_an_evaluation_output_is_refused(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.results.write_bytes(b"path,label,weight,bear,elk,moose,cat\n")
    refuse(
        files,
        capsys,
        f"{files.results} holds true labels, which are no targets; give the output of "
        "run_classifier",
    )


def test_a_late_bad_row_leaves_nothing(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{row}.jpg___crop00.jpg,1,0,0,0\n" for row in range(9000))
    text = f"path,bear,elk,moose,cat\n{rows}x.jpg___crop00.jpg,1,0,0,2\n"
    files.results.write_text(text)
    where = f"{files.results}: row 9002, column cat"
    refuse(files, capsys, f"{where}: '2' is not a number between 0 and 1")


@pytest.mark.parametrize("missing", ["results", "mapping"])
def test_a_missing_input_is_one_line(
    files: Files, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    files.write()
    path: Path = getattr(files, missing)
    path.unlink()
    refuse(files, capsys, f"{path}: cannot read: No such file or directory")


BROAD = {"mammal": ("bear", "elk", "moose"), "other": ("cat",)}


def fall_back(files: Files, *flags: str) -> int:
    broad = files.mapping.with_name("broad.json")
    target_mapping.write(broad, BROAD)
    files.results.write_bytes(
        gzip.compress(
            b"path,bear,elk,moose,cat\n"
            b"x.jpg___crop00.jpg,0.1,0.25,0.5,0.15\n"
            b"y.jpg___crop00.jpg,0.5,0.25,0.125,0.125\n"
            b"z.jpg___crop00.jpg,0.25,0.125,0.125,0.5\n"
        )
    )
    outputs = ["-o", str(files.remapped), "-i", str(files.index)]
    mappings = ["-t", str(files.mapping), "--fall-back-mapping", str(broad)]
    return main([str(files.results), *mappings, *outputs, *flags])


def test_unsure_crops_fall_back_to_broader_targets(files: Files) -> None:
    assert fall_back(files) == cli.EXIT_OK
    assert label_index.read(files.index) == ("carnivore", "deer", "mammal", "other")
    assert files.remapped.read_text() == (
        "path,carnivore,deer,mammal,other\n"
        "x.jpg___crop00.jpg,0.1,0.75,0,0.15\n"
        "y.jpg___crop00.jpg,0,0,0.875,0.125\n"
        "z.jpg___crop00.jpg,0,0,0,0.5\n"
    )


def test_the_threshold_decides_what_is_unsure(files: Files) -> None:
    assert fall_back(files, "--fall-back-threshold", "0.5") == cli.EXIT_OK
    assert "y.jpg___crop00.jpg,0.5,0.375,0,0.125\n" in files.remapped.read_text()


def test_a_threshold_without_a_mapping_is_a_usage_error(files: Files) -> None:
    outputs = ["-o", str(files.remapped), "-i", str(files.index)]
    with pytest.raises(SystemExit) as caught:
        main(
            [
                *(str(files.results), "-t", str(files.mapping), *outputs),
                *("--fall-back-threshold", "0.5"),
            ]
        )
    assert caught.value.code == cli.EXIT_USAGE
