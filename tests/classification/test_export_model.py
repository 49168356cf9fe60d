"""Makes a model that runs anywhere of a training checkpoint."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from classification import export_model
from classification.artifacts import label_index, predictions, run_params
from classification.artifacts.run_params import RunParams
from classification.modeling import (
    catalog,
    checkpoints,
    loading,
    manifest,
    networks,
    preprocessing,
)
from classification.modeling.checkpoints import Checkpoint
from classification.modeling.inference import Resources, softmax
from classification.runtime import registry
from tests import classifiers, world

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = ("bear", "deer")
SIDE = 32
PARAMS = RunParams(
    dataset_dir="run",
    cropped_images_dir="crops",
    model_name="resnet18",
    image_size=SIDE,
    data_sha256={"classification_ds.csv": "7" * 64},
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log").mkdir()
    return tmp_path


def network(outputs: int = 2) -> torch.nn.Module:
    torch.manual_seed(0)
    return classifiers.lively(networks.build("resnet18", outputs), SIDE)


def save(path: Path, **changes: Any) -> Checkpoint:  # noqa: ANN401 - any attribute
    said: dict[str, Any] = {
        "model": network().state_dict(),
        "epoch": 14,
        "val_accuracy": 82.755,
        "padding": "tf",
        "labels": LABELS,
        "architecture": "resnet18",
        "image_size": SIDE,
    }
    checkpoint = Checkpoint(**(said | changes))
    checkpoints.write(path, checkpoint)
    return checkpoint


def save_original(path: Path) -> None:
    """Writes a checkpoint with the original's keys alone."""
    torch.save(
        {
            "epoch": 14,
            "model": network().state_dict(),
            "val/acc": 82.755,
            "optimizer": {},
        },
        path,
    )


def export(*arguments: object) -> int:
    return export_model.main([str(word) for word in arguments])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def predict(path: Path, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    return loading.open_classifier(path, Resources(device="cpu")).predict(squares)


def expected(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    images = torch.from_numpy(preprocessing.normalise(squares, catalog.IMAGENET))
    with torch.inference_mode():
        return softmax(network()(images).numpy())


def test_both_kinds_give_what_the_network_gives(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(folder / "log/ckpt_14.pt")
    run_params.write(folder / "log/params.json", PARAMS)
    outputs = ("out/deer.onnx", "out/deer_compiled.pt")
    assert export("log/ckpt_14.pt", *outputs) == 0
    squares = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    for output in outputs:
        np.testing.assert_allclose(
            predict(folder / output, squares), expected(squares), atol=1e-5
        )
        described = manifest.read(manifest.path_beside(folder / output))
        assert described.labels == LABELS
        assert (described.architecture, described.image_size) == ("resnet18", SIDE)
        assert described.parity is not None
        assert described.parity.largest_difference < 1e-5
    assert re.fullmatch(
        r"wrote out/deer_compiled\.pt and deer_compiled\.manifest\.json: resnet18, 2 "
        r"labels, 32 pixels; logits differ from those of torch \S+, float32, cpu by "
        r"\d\S* of their range",
        last_line(capsys),
    )


def test_the_manifest_says_where_the_weights_are_from(folder: Path) -> None:
    save(folder / "log/ckpt_14.pt")
    run_params.write(folder / "log/params.json", PARAMS)
    assert export("log/ckpt_14.pt", "deer.onnx") == 0
    first = (folder / "deer.manifest.json").read_bytes()
    provenance = manifest.read(folder / "deer.manifest.json").provenance
    sha256 = registry.sha256_of(folder / "log/ckpt_14.pt")
    assert provenance["checkpoint"] == "ckpt_14.pt"
    assert provenance["checkpoint_sha256"] == sha256
    assert provenance["epoch"] == "14"
    assert provenance["val_accuracy_percent"] == "82.755"
    assert provenance["params.model_name"] == "resnet18"
    assert provenance["params.weight_decay"] == "1e-05"
    assert provenance["sha256.classification_ds.csv"] == "7" * 64
    assert export("log/ckpt_14.pt", "deer.onnx") == 0
    assert (folder / "deer.manifest.json").read_bytes() == first


@pytest.mark.parametrize("where", ["log", "run", "elsewhere"])
def test_d63_a_checkpoint_of_the_original(folder: Path, where: str) -> None:
    """Its labels are beside it, in the dataset_dir as it was given, or are named."""
    save_original(folder / "log/ckpt_14.pt")
    original = {
        "dataset_dir": "run",
        "cropped_images_dir": "/no/such/folder",
        "multilabel": False,
        "model_name": "resnet18",
        "batch_size": 64,
    }
    (folder / "log/params.json").write_text(json.dumps(original))
    index = folder / where / "label_index.json"
    label_index.write(index, LABELS)
    named = ["--label-index", index] if where == "elsewhere" else []
    line = ("log/ckpt_14.pt", "deer.onnx", "--image-size", SIDE, *named)
    assert export(*line) == 0
    described = manifest.read(folder / "deer.manifest.json")
    assert (described.labels, described.padding) == (LABELS, "symmetric")
    squares = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    np.testing.assert_allclose(
        predict(folder / "deer.onnx", squares), expected(squares), atol=1e-5
    )


def test_options_come_before_what_files_say(folder: Path) -> None:
    save(folder / "ckpt_0.pt", architecture="resnet50", labels=("x", "y"))
    label_index.write(folder / "index.json", LABELS)
    assert (
        export(
            *("ckpt_0.pt", "deer.onnx", "--model-name", "resnet18"),
            *("--label-index", "index.json", "--image-size", 48, "--padding", "tf"),
        )
        == 0
    )
    described = manifest.read(folder / "deer.manifest.json")
    assert (described.architecture, described.labels) == ("resnet18", LABELS)
    assert (described.image_size, described.padding) == (48, "tf")


def test_d45_a_checkpoint_that_runs_code_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = folder / "trace"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.mkdir, (trace,)

    torch.save({"model": network().state_dict(), "epoch": Payload()}, "ckpt_0.pt")
    assert export("ckpt_0.pt", "deer.onnx", "-m", "resnet18") == 1
    assert "not a file of weights alone" in last_line(capsys)
    assert not trace.exists()
    assert not (folder / "deer.onnx").exists()


def test_the_line_that_run_classifier_names_works(folder: Path) -> None:
    """What a plain checkpoint is answered with, given as it is, makes a model of it.

    The model runs in a process of its own, which never imports torch.
    """
    save(folder / "log/ckpt_14.pt")
    crop = world.photograph(48, 36)
    world.save_jpeg(folder / "crops/a.jpg", crop)
    program = (
        "import sys; from classification import run_classifier\n"
        "code = run_classifier.main(sys.argv[1:])\n"
        "print(code, sorted({'torch', 'torchvision', 'timm'} & set(sys.modules)))\n"
    )

    def classify(model: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", program, model, "crops", "out.csv"]
        return subprocess.run(words, capture_output=True, text=True, check=True)

    refused = classify("log/ckpt_14.pt")
    line = re.search(r"python -m classification\.export_model (.*)", refused.stderr)
    assert line is not None
    assert export(*line[1].split()) == 0
    assert classify("log/ckpt_14.onnx").stdout == "0 []\n"
    assert predictions.open_file(folder / "out.csv").categories == LABELS


def test_a_calibration_that_goes_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(folder / "ckpt_0.pt")
    assert export("ckpt_0.pt", "deer.onnx") == 0
    classifiers.calibrate(folder / "deer.onnx", temperature=2.0)
    assert export("ckpt_0.pt", "deer.onnx") == 0
    assert last_line(capsys) == (
        "deer.onnx was calibrated and is no longer; calibrate_classifier does it again"
    )
    assert manifest.read(folder / "deer.manifest.json").calibration is None


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        (
            {"architecture": None},
            [],
            (
                "ckpt_0.pt does not say its architecture, and params.json is not beside "
                "it; give --params-json or --model-name"
            ),
        ),
        (
            {"labels": None},
            [],
            (
                "ckpt_0.pt does not say its labels, and label_index.json is not in .; "
                "give --label-index"
            ),
        ),
        (
            {"labels": ("a", "b", "c")},
            [],
            "ckpt_0.pt has 2 outputs, but there are 3 labels; give --label-index",
        ),
        ({}, ["-m", "resnet50"], "ckpt_0.pt: weights of another network: "),
        ({}, ["-m", "resnet7"], "ckpt_0.pt: no architecture 'resnet7'; there are "),
        (
            {},
            ["--params-json", "no.json"],
            "no.json: cannot read: No such file or directory",
        ),
    ],
)
def test_known_failures(
    folder: Path,
    changes: dict[str, object],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save(folder / "ckpt_0.pt", **changes)
    before = (folder / "ckpt_0.pt").read_bytes()
    assert export("ckpt_0.pt", "deer.onnx", *arguments) == 1
    assert last_line(capsys).startswith(f"error: {message}")
    assert (folder / "ckpt_0.pt").read_bytes() == before
    assert not (folder / "deer.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deer.h5"], "deer.h5 ends neither in .onnx nor in .pt"),
        (["deer.onnx", "--image-size", "5"], "5 is not between 8 and 4096"),
    ],
)
def test_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        export("ckpt_0.pt", *arguments)
    assert ending.value.code == 2
    assert message in capsys.readouterr().err
