"""Makes the probabilities of an exported classifier mean what they say."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification import calibrate_classifier, run_classifier
from classification.artifacts import predictions, predictions_info
from classification.modeling import manifest, scaling
from classification.modeling.inference import softmax
from classification.modeling.scaling import Temperature, Vector
from classification.runtime import registry
from tests import classifiers, world

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CROPS = 1200


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    classifiers.save_exported(tmp_path / "deer.onnx")
    return tmp_path


def drawn(
    crops: int = CROPS, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Makes probabilities that are twice too sure, and true labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (crops, 3)).astype(np.float32)
    truth = np.cumsum(softmax(logits).astype(np.float64), axis=1)
    true = (rng.random((crops, 1)) * truth[:, -1:] > truth).sum(axis=1)
    return softmax(logits * np.float32(2)), true


def save_outputs(
    path: Path,
    labels: Sequence[str] = classifiers.LABELS,
    crops: int = CROPS,
    seed: int = 0,
) -> Path:
    probabilities, true = drawn(crops, seed)
    rows = predictions.Evaluated(
        [f"ds/{number}.jpg" for number in range(crops)],
        [labels[index] for index in true],
        np.ones(crops, np.float32),
        probabilities,
    )
    predictions.write_evaluated(path, labels, [rows])
    return path


def calibrate(*arguments: object) -> int:
    return calibrate_classifier.main([str(word) for word in arguments])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def calibration(folder: Path, name: str = "deer") -> manifest.Calibration:
    found = manifest.read(folder / f"{name}.manifest.json").calibration
    assert found is not None
    return found


def test_a_temperature_goes_into_the_manifest(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = save_outputs(folder / "outputs_val.csv.gz")
    assert calibrate("outputs_val.csv.gz", "deer.onnx") == 0
    found = calibration(folder)
    assert isinstance(found.scaling, Temperature)
    assert found.scaling.temperature == pytest.approx(2, rel=0.1)
    assert found.outputs_sha256 == registry.sha256_of(outputs)
    assert (found.crops, found.wanted_precision) == (CROPS, 0.95)
    assert found.ece_before > 0.1
    assert found.ece_after < 0.04
    told = capsys.readouterr()
    assert told.err.splitlines() == [
        (
            f"{found.scaling}: expected calibration error {found.ece_before:.4f}, then "
            f"{found.ece_after:.4f}; cross-entropy {found.loss_before:.4f}, then "
            f"{found.loss_after:.4f} ({CROPS} crops of outputs_val.csv.gz)"
        ),
        "wrote deer.manifest.json",
    ]
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert [row["label"] for row in rows] == list(classifiers.LABELS)
    for row, one in zip(rows, found.labels, strict=True):
        assert float(row["ece_before"]) == one.ece_before
        assert one.threshold is not None
        assert float(row["threshold"]) == one.threshold.probability
        assert float(row["low"]) < one.threshold.precision < float(row["high"])


def test_the_same_outputs_give_the_same_bytes(folder: Path) -> None:
    save_outputs(folder / "outputs_val.csv.gz")
    path = folder / "deer.manifest.json"
    assert calibrate("outputs_val.csv.gz", "deer.onnx", "--method", "vector") == 0
    first = path.read_bytes()
    assert isinstance(calibration(folder).scaling, Vector)
    assert calibrate("outputs_val.csv.gz", "deer.onnx", "--method", "vector") == 0
    assert path.read_bytes() == first


def test_what_is_written_is_what_run_classifier_applies(folder: Path) -> None:
    save_outputs(folder / "outputs_val.csv")
    for number in range(3):
        world.save_jpeg(
            folder / f"crops/{number}.jpg", world.photograph(48, 36, seed=number)
        )
    run = ["deer.onnx", "crops"]
    assert run_classifier.main([*run, "plain.csv"]) == 0
    assert calibrate("outputs_val.csv", "deer.onnx", "--method", "vector") == 0
    assert run_classifier.main([*run, "out.csv"]) == 0
    [plain] = predictions.open_file(folder / "plain.csv").batches()
    [found] = predictions.open_file(folder / "out.csv").batches()
    logs = scaling.log_probabilities(plain.probabilities)
    expected = softmax(scaling.scale_logs(calibration(folder).scaling, logs))
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)


def test_two_exports_and_another_split(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classifiers.save_exported(folder / "deer_compiled.pt", b"weights")
    save_outputs(folder / "outputs_val.csv")
    save_outputs(folder / "outputs_test.csv", crops=300, seed=1)
    models = ("deer.onnx", "deer_compiled.pt")
    assert (
        calibrate(
            *("outputs_val.csv", *models, "--precision", 0.8),
            *("--check", "outputs_test.csv"),
        )
        == 0
    )
    assert calibration(folder) == calibration(folder, "deer_compiled")
    assert calibration(folder).wanted_precision == 0.8
    *_, errors, kept = capsys.readouterr().err.splitlines()
    assert errors.startswith("outputs_test.csv: expected calibration error 0.1")
    assert errors.endswith("(300 crops)")
    told = re.fullmatch(
        r"outputs_test\.csv: (\d+) of the (\d+) crops that reach the threshold of "
        r"their label are right",
        kept,
    )
    assert told is not None
    right, reached = int(told[1]), int(told[2])
    assert 50 < reached < 300
    assert 0.7 < right / reached < 0.9


def test_scaling_that_does_not_help_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "outputs_val.csv").write_text(
        "path,label,bear,deer,empty\na.jpg,bear,0.8,0.2,0\nb.jpg,deer,0.8,0.2,0\n"
    )
    assert calibrate("outputs_val.csv", "deer.onnx", "--method", "vector") == 0
    assert "too few crops for --method vector" in capsys.readouterr().err


def test_calibrated_outputs_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = save_outputs(folder / "outputs_val.csv")
    applied = predictions_info.Applied(
        method="temperature", temperature=2.0, crops=9, ece_before=0.25, ece_after=0.125
    )
    predictions_info.tell(outputs, predictions_info.Origin(applied))
    assert calibrate("outputs_val.csv", "deer.onnx") == 1
    assert last_line(capsys) == (
        "error: outputs_val.csv: these probabilities are calibrated already; evaluate "
        "the checkpoint"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "path,bear,deer,empty\na.jpg,0.5,0.5,0\n",
            (
                "outputs.csv: no column label; evaluate_model writes outputs with true "
                "labels"
            ),
        ),
        (
            "path,label,bear,empty,deer\na.jpg,bear,0.5,0.5,0\n",
            (
                "outputs.csv: its columns are not the labels in their "
                "order: 'empty' stands where 'deer' is expected"
            ),
        ),
        (
            "path,label,bear,deer\na.jpg,bear,0.5,0.5\n",
            (
                "outputs.csv: its columns are not the labels in their "
                "order: 2 columns, 3 labels"
            ),
        ),
        (
            "path,label,bear,deer,empty\na.jpg,bear,1,0,0\nb.jpg,hog,1,0,0\n",
            "outputs.csv: row 3, column label: 'hog' is no label of the model",
        ),
        ("path,label,bear,deer,empty\n", "outputs.csv: no crop to calibrate with"),
        (
            "path,label,bear,deer,empty\na.jpg,bear,2,0,0\n",
            "outputs.csv: row 2, column bear: '2' is not a number between 0 and 1",
        ),
    ],
)
def test_outputs_that_do_not_fit(
    folder: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "outputs.csv").write_text(content)
    before = (folder / "deer.manifest.json").read_bytes()
    assert calibrate("outputs.csv", "deer.onnx") == 1
    assert last_line(capsys) == f"error: {message}"
    assert (folder / "deer.manifest.json").read_bytes() == before


def test_models_that_do_not_fit(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_outputs(folder / "outputs.csv")
    classifiers.save_exported(folder / "two.onnx", labels=["bear", "deer"])
    assert calibrate("outputs.csv", "deer.onnx", "two.onnx") == 1
    assert last_line(capsys) == "error: two.onnx has other labels than deer.onnx"
    assert calibrate("outputs.csv", "no.onnx") == 1
    assert "error: no.manifest.json: cannot read" in last_line(capsys)


def test_a_precision_of_nothing_is_a_usage_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        calibrate(folder / "x.csv", "deer.onnx", "--precision", "0")
    assert ending.value.code == 2
    assert "a precision of 0 needs no threshold" in capsys.readouterr().err
