"""The quickstart: what it runs, what it says, what it leaves behind."""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from classification import quickstart
from classification.artifacts import detections, label_index
from classification.modeling import manifest
from classification.modeling.catalog import IMAGENET
from classification.modeling.manifest import Manifest, Weights
from classification.quickstart import IMAGENET_LABELS, Files, Options, Step, main
from classification.runtime import cli
from tests.detection.detectors import graphs

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = Options(box_threshold=0.3, device="auto", restart=False)
DARK, RED = (10, 90, 90), (230, 90, 90)


@pytest.fixture
def red_detector(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A detector that finds a box in every red image, in place of the default."""
    path = graphs.red_detector(tmp_path_factory.mktemp("model") / "md_red_v9.0.onnx")
    monkeypatch.setattr(quickstart, "DETECTOR", str(path))
    return path


def save_classifier(path: Path, probability_by_label: dict[str, float]) -> Path:
    """Builds a classifier of ImageNet's categories that says the same of every crop."""
    labels = label_index.read(IMAGENET_LABELS)
    rest = (1 - sum(probability_by_label.values())) / len(labels)
    share = [probability_by_label.get(label, 0) + rest for label in labels]
    values = {
        "logits_": np.log(np.array([share], np.float32)),
        "shape": np.array([-1, 1]),
        "zero": np.array(0, np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3]),
        helper.make_node("Reshape", ["mean", "shape"], ["column"]),
        helper.make_node("Mul", ["column", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "logits_"], ["logits"]),
    ]
    side = 32
    graph = helper.make_graph(
        nodes,
        "always the same",
        [
            helper.make_tensor_value_info(
                "images", TensorProto.FLOAT, ["N", 3, side, side]
            )
        ],
        [
            helper.make_tensor_value_info(
                "logits", TensorProto.FLOAT, ["N", len(labels)]
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)
    described = Manifest(
        architecture="efficientnet-b0",
        weights=Weights(
            file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
        ),
        labels=labels,
        image_size=side,
        normalisation=IMAGENET,
        padding="tf",
    )
    manifest.write(manifest.path_beside(path), described)
    return path


def photographs(folder: Path, **colours: tuple[int, int, int]) -> Path:
    folder.mkdir()
    for name, colour in colours.items():
        Image.new("RGB", (80, 60), colour).save(folder / f"{name}.jpg", quality=95)
    return folder


def empty_detections(path: Path, detector: str) -> None:
    header = detections.Header(
        info={"format_version": "1.6", "detector": detector},
        detection_categories={"1": "animal"},
    )
    detections.write(path, header, [])


def plan(folder: Path, options: Options = OPTIONS) -> list[Step]:
    files = Files(folder)
    empty_detections(files.detections, "d")
    images = folder / "my images"
    files.crops().mkdir(exist_ok=True)
    return [
        quickstart.detecting(images, files, options),
        *quickstart.classifying(images, files, options),
    ]


def test_runs_the_real_commands_in_order(tmp_path: Path) -> None:
    assert [step.words[0] for step in plan(tmp_path)] == [
        "detection.run_detector_batch",
        "classification.crop_detections",
        "classification.run_classifier",
        "classification.map_classification_categories",
        "classification.map_classification_categories",
        "classification.aggregate_classifier_probs",
        "classification.merge_classification_detection_output",
    ]


@pytest.mark.parametrize("restart", [False, True])
def test_each_command_line_is_one_that_its_command_takes(
    tmp_path: Path, *, restart: bool
) -> None:
    options = Options(box_threshold=0.2, device="cpu", restart=restart)
    for step in plan(tmp_path, options):
        parser = importlib.import_module(step.words[0]).build_parser()
        parser.parse_args(step.words[1:])


def test_other_detections_have_other_crops(tmp_path: Path) -> None:
    files = Files(tmp_path)
    empty_detections(files.detections, "one")
    before = files.crops()
    assert files.crops() == before
    empty_detections(files.detections, "another")
    assert files.crops() != before


ANSWERS = (
    ({"grey fox": 0.5, "red fox": 0.3}, "fox", "group"),
    ({"grey fox": 0.4, "weasel": 0.4}, "mammal", "broad"),
    ({"grey fox": 0.3, "robin": 0.3}, "animal", "unsure"),
    ({"abacus": 0.9}, "none of the groups", "other"),
)


@pytest.mark.usefixtures("red_detector")
@pytest.mark.parametrize(
    ("probabilities", "answer", "kind"),
    [
        ANSWERS[1],
        *(pytest.param(*ANSWERS[i], marks=pytest.mark.slow) for i in (0, 2, 3)),
    ],
)
def test_the_whole_way(
    probabilities: dict[str, float],
    answer: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classifier = save_classifier(tmp_path / "same.onnx", probabilities)
    monkeypatch.setattr(quickstart, "CLASSIFIER", str(classifier))
    images = photographs(tmp_path / "images", a=DARK, b=RED)
    files = Files(tmp_path / "out")
    assert main(["--images", str(images), "--output", str(files.folder)]) == 0

    page = files.page.read_text(encoding="utf-8")
    assert f'<div class="box {kind}">' in page
    assert f"<strong><bdi>{answer}</bdi></strong>" in page
    for category in probabilities:
        assert f"<bdi>{category}</bdi>" in page
    merged = json.loads(files.merged.read_text(encoding="utf-8"))
    assert said(merged) == ([] if answer == "animal" else [answer_in_json(answer)])
    assert sorted(path.name for path in files.logs.iterdir()) == sorted(
        path.name for path in files.folder.rglob("*_log_*")
    )


@pytest.mark.slow
@pytest.mark.usefixtures("red_detector")
def test_run_again_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = save_classifier(tmp_path / "same.onnx", ANSWERS[0][0])
    monkeypatch.setattr(quickstart, "CLASSIFIER", str(classifier))
    images = photographs(tmp_path / "images", a=DARK, b=RED)
    files = Files(tmp_path / "out")
    argv = ["--images", str(images), "--output", str(files.folder)]
    assert main(argv) == 0
    first = {path.name: path.read_bytes() for path in stable(files)}
    assert main([*argv, "--restart"]) == 0
    again = {path.name: path.read_bytes() for path in stable(files)}
    # The page shows the command lines, and these differ by the flag.
    assert again.pop(files.page.name) != first.pop(files.page.name)
    assert again == first
    assert main(argv) == 0


def answer_in_json(answer: str) -> str:
    return "other" if answer == "none of the groups" else answer


def said(merged: dict[str, Any]) -> list[str]:
    """The classifications that reach the file's own typical threshold."""
    least = merged["info"]["classifier_metadata"]["typical_classification_threshold"]
    names = merged["classification_categories"]
    return [
        names[category]
        for image in merged["images"]
        for box in image["detections"]
        for category, probability in box.get("classifications", [])
        if probability >= least
    ]


def stable(files: Files) -> list[Path]:
    """Every file but the step logs, which hold the clock."""
    return [
        path
        for path in files.folder.rglob("*")
        if path.is_file() and "_log_" not in path.name
    ]


def test_nothing_found_still_makes_a_page(
    red_detector: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    images = photographs(tmp_path / "my images", a=DARK, b=DARK)
    (images / "c.jpg").write_text("hello")
    output = tmp_path / "out"
    assert main(["--images", str(images), "--output", str(output)]) == 0
    said = capfd.readouterr().err
    words = ("-m", "detection.run_detector_batch", str(red_detector), str(images))
    assert cli.command_line(words) in said
    assert "crop_detections" not in said
    assert said.splitlines()[-7:] == [
        "picture  answer           best exact guess",
        "a.jpg    no animal found",
        "b.jpg    no animal found",
        "failed: c.jpg: not an image file",
        "2 pictures, 0 boxes, 1 could not be used",
        "",
        f"wrote {output / 'index.html'}; open it in a browser",
    ]
    page = (output / "index.html").read_text(encoding="utf-8")
    assert page.count("No box reaches the detector threshold of 30%.") == 2
    assert "<bdi>not an image file</bdi>" in page
    assert 'href="./detections.json"' in page
    assert "detections_with_classifications" not in page


def test_a_failing_step_ends_it_with_its_own_message_and_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quickstart, "DETECTOR", "no_such_model.onnx")
    images = photographs(tmp_path / "images", a=DARK)
    assert main(["--images", str(images), "--output", str(tmp_path / "out")]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[-2].startswith("error: no such model file: no_such_model.onnx")
    assert lines[-1] == (
        "error: detection.run_detector_batch ended with exit code 1; see above"
    )
    assert not (tmp_path / "out" / "index.html").exists()


@pytest.mark.usefixtures("red_detector")
def test_pictures_that_all_fail_end_it_with_4(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.jpg").write_text("hello")
    assert main(["--images", str(images), "--output", str(tmp_path / "out")]) == 4


def test_a_folder_that_is_not_there_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--images", str(tmp_path / "gone")])
    assert caught.value.code == 2
    assert "no such folder" in capsys.readouterr().err


def test_an_output_among_the_images_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--images", str(tmp_path), "--output", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert "its crops would be taken for images" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.network
def test_real_models_on_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path / "out")
    assert main(["--output", str(files.folder)]) == 0
    capfd.readouterr()
    first = {path.name: path.read_bytes() for path in stable(files)}
    # Models and samples are in the cache now: the registry is no longer needed.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["--output", str(files.folder)]) == 0
    assert {path.name: path.read_bytes() for path in stable(files)} == first
    table = capfd.readouterr().err
    assert "macaw" in table
    assert "(right)" in table
    assert "(wrong)" not in table
    page = files.page.read_text(encoding="utf-8")
    assert page.count('class="frame"') >= 5
    assert "✗ wrong" not in page
