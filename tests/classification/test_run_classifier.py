"""run_classifier, from crops to the CSV."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torchvision import transforms

from classification import merge_shards, run_classifier
from classification.artifacts import (
    crop_record,
    image_contents,
    label_index,
    predictions,
    predictions_info,
)
from classification.artifacts.crop_record import CropRecord, Geometry
from classification.artifacts.layout import CropName
from classification.artifacts.predictions_info import digest_box
from classification.cropping.harvest import Settings, save_crop
from classification.cropping.images import open_image
from classification.modeling.onnx import OnnxClassifier
from classification.runtime.contents import Contents
from classification.runtime.journal import Journal
from detection.boxes import Box
from tests import classifiers, world

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DETECTOR = "md_v5a.0.0.pt"
NUMBER = 11


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(folder: Path) -> Path:
    return classifiers.save_exported(folder / "model" / "m.onnx")


def _crop(folder: Path, name: str, seed: int = 0) -> Path:
    return world.save_jpeg(folder / "crops" / name, world.photograph(48, 36, seed=seed))


def _detections(folder: Path, boxes: dict[str, int], **info: str) -> Path:
    box = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.5]}
    document: dict[str, Any] = {
        "info": {"format_version": "1.6", **info},
        "detection_categories": {"1": "animal"},
        "images": [
            {"file": name, "detections": [box] * number}
            for name, number in boxes.items()
        ],
    }
    path = folder / "detections.json"
    path.write_text(json.dumps(document))
    return path


def _run(*arguments: object) -> int:
    return run_classifier.main([str(word) for word in arguments])


def _rows(path: Path) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    found = {}
    for batch in predictions.open_file(path).batches():
        found.update(zip(batch.paths, batch.probabilities, strict=True))
    return found


def _last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def _log(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("run_classifier_log_*.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_crops_of_a_detections_json(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"b/x.jpg___crop{n:02d}_{DETECTOR}.jpg" for n in (0, 2)]
    names += [f"a.jpg___crop00_{DETECTOR}.jpg"]
    for seed, name in enumerate(names):
        _crop(folder, name, seed)
    _crop(folder, "unrelated.jpg")
    boxes = _detections(folder, {"b/x.jpg": 3, "a.jpg": 1}, detector=DETECTOR)
    assert _run(model, "crops", "out.csv", "-d", boxes, "--device", "cpu") == 0
    rows = _rows(folder / "out.csv")
    assert list(rows) == names
    assert predictions.open_file(folder / "out.csv").categories == classifiers.LABELS
    log = _log(folder)
    assert log["counts"] == {"crops": 3, "rows": 3, "failed": 0}
    assert _last_line(capsys) == (
        "3 crops classified, 0 failed; wrote out.csv; log: "
        f"{next(folder.glob('*log_*')).name}"
    )
    assert not (folder / "out.csv.journal").exists()


def test_d31_images_without_a_json_are_named_without_a_dot(
    folder: Path, model: Path
) -> None:
    for name in ("z.jpg", "a/y.jpg", "a.jpg"):
        _crop(folder, name)
    (folder / "crops" / "notes.txt").write_text("no image")
    assert _run(model, "crops", "out.csv") == 0
    assert list(_rows(folder / "out.csv")) == ["a.jpg", "a/y.jpg", "z.jpg"]


def test_d31_a_file_without_a_detector_has_crops_of_an_unknown_one(
    folder: Path, model: Path
) -> None:
    _crop(folder, "a.jpg___crop00_unknown.jpg")
    boxes = _detections(folder, {"a.jpg": 1})
    assert _run(model, "crops", "out.csv", "--detections_json", boxes) == 0
    assert list(_rows(folder / "out.csv")) == ["a.jpg___crop00_unknown.jpg"]


@pytest.mark.parametrize("flag", [[], ["-v", "my model"]])
def test_crops_of_a_detector_that_was_named_are_found(
    folder: Path, model: Path, flag: list[str]
) -> None:
    _crop(folder, "a.jpg___crop00_my model.jpg")
    boxes = _detections(folder, {"a.jpg": 1})
    assert _run(model, "crops", "out.csv", "-d", boxes, *flag) == 0
    assert list(_rows(folder / "out.csv")) == ["a.jpg___crop00_my model.jpg"]


def test_crops_of_several_detectors_want_a_name(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "xy":
        _crop(folder, f"a.jpg___crop00_{name}.jpg")
    boxes = _detections(folder, {"a.jpg": 1})
    assert _run(model, "crops", "out.csv", "-d", boxes) == 1
    assert _last_line(capsys) == (
        f"error: {boxes} names no detector (info.detector), and crops holds crops of x, y; "
        "--detector-version says which to take"
    )
    assert _run(model, "crops", "out.csv", "-d", boxes, "-v", "y") == 0
    assert list(_rows(folder / "out.csv")) == ["a.jpg___crop00_y.jpg"]


def test_a_detector_that_the_file_contradicts_is_refused(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _crop(folder, "a.jpg___crop00_x.jpg")
    boxes = _detections(folder, {"a.jpg": 1}, detector=DETECTOR)
    assert _run(model, "crops", "out.csv", "-d", boxes, "-v", "x") == 1
    assert f"--detector-version x is not info.detector, {DETECTOR}" in _last_line(
        capsys
    )


def _cut(folder: Path, name: str, **source: object) -> None:
    """Writes a crop that says what it was cut from."""
    record = CropRecord(
        **{
            "image": CropName.parse(name).image,
            "image_digest": "of image",
            "box": Box(0.1, 0.1, 0.2, 0.2),
            "geometry": Settings().geometry,
            "detector": DETECTOR,
            "detector_digest": "of detector",
            "annotated": False,
            **source,
        }  # type: ignore[arg-type]  # each test's own
    )
    save_crop(folder / "crops" / name, world.photograph(30, 20), record)


def test_crops_of_another_box_are_passed_over_and_listed(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"a.jpg___crop{n:02d}_{DETECTOR}.jpg" for n in range(4)]
    boxes = _detections(folder, {"a.jpg": 4}, detector=DETECTOR)
    (box, *_) = json.loads(boxes.read_text())["images"][0]["detections"]
    bbox = Box(*box["bbox"])
    _cut(folder, names[0], box=bbox)
    _cut(folder, names[1], box=Box(0.5, 0.5, 0.1, 0.1))
    _cut(folder, names[2], box=bbox, image="b.jpg")
    _crop(folder, names[3])
    assert _run(model, "crops", "out.csv", "-d", boxes) == 0
    assert list(_rows(folder / "out.csv")) == [names[0], names[3]]
    said = capsys.readouterr().err
    assert "1 crops do not say what they were cut from" in said
    assert (
        "2 crops classified, 0 failed; 2 crops passed over (1 x cut from another box, "
        "1 x cut from another image): run the detector, then crop_detections, again; "
        "wrote out.csv; " in said
    )
    log = _log(folder)
    assert log["counts"]["crops_passed_over"] == 2
    assert log["crops_passed_over"] == [
        {"item": names[1], "reason": "cut from another box"},
        {"item": names[2], "reason": "cut from another image"},
    ]


def test_crops_of_another_detector_or_image_are_passed_over_where_both_sides_know(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"a.jpg___crop00_{DETECTOR}.jpg"
    boxes = _detections(folder, {"a.jpg": 1}, detector=DETECTOR)
    (box,) = json.loads(boxes.read_text())["images"][0]["detections"]
    _cut(folder, name, box=Box(*box["bbox"]))
    assert _run(model, "crops", "out.csv", "-d", boxes) == 0
    for detector, image, reason in (
        ("of detector", "of image", ""),
        ("of another", "of image", "of a box of another detector"),
        ("of detector", "of another", "cut from another image"),
    ):
        found = [("a.jpg", Contents(image, None))]
        image_contents.tell(boxes, found, detector=detector)
        assert _run(model, "crops", "new.csv", "-d", boxes) == bool(reason)
        if reason:
            assert f"1 crops passed over (1 x {reason}): run " in _last_line(capsys)
    image_contents.tell(boxes, [], detector="")
    assert _run(model, "crops", "new.csv", "-d", boxes) == 0


def test_a_crops_folder_that_vanishes_is_no_success(
    folder: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(6):
        _crop(folder, f"{number}.jpg", number)
    append = Journal.append

    def vanish(self: Journal, records: Any) -> None:  # noqa: ANN401 - as append's
        append(self, records)
        if (folder / "crops").exists():
            (folder / "crops").rename(folder / "elsewhere")

    monkeypatch.setattr(Journal, "append", vanish)
    line = (model, "crops", "out.csv", "--batch-size", 1, "--num-workers", 1)
    assert _run(*line) == 1
    assert _last_line(capsys).startswith(
        "error: crops vanished in the middle of the run"
    )
    assert not (folder / "out.csv").exists()
    monkeypatch.setattr(Journal, "append", append)
    (folder / "elsewhere").rename(folder / "crops")
    assert _run(*line) == 0
    assert len(_rows(folder / "out.csv")) == 6


def test_d31_absolute_names_are_refused(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    boxes = _detections(folder, {"/a.jpg": 1}, detector=DETECTOR)
    (folder / "crops").mkdir()
    assert _run(model, "crops", "out.csv", "-d", boxes) == 1
    assert "'/a.jpg' is absolute" in _last_line(capsys)
    assert not (folder / "out.csv").exists()


def test_d32_crops_of_training_and_ground_truth_are_found(
    folder: Path, model: Path
) -> None:
    names = ["a.jpg___crop00_mdv5a.0.0.jpg", "a.jpg___crop01.jpg"]
    for name in names:
        _crop(folder, name)
    boxes = _detections(folder, {"a.jpg": 2}, detector=DETECTOR)
    assert _run(model, "crops", "out.csv", "-d", boxes) == 0
    assert list(_rows(folder / "out.csv")) == names


def test_d51_one_gzip_member_the_same_each_time(folder: Path, model: Path) -> None:
    for number in range(5):
        _crop(folder, f"{number}.jpg", number)
    for name in ("one.csv.gz", "two.csv.gz"):
        assert _run(model, "crops", name, "--batch-size", 2) == 0
    data = (folder / "one.csv.gz").read_bytes()
    assert data == (folder / "two.csv.gz").read_bytes()
    assert data.count(b"\x1f\x8b\x08") == 1
    assert _run(model, "crops", "plain.csv", "--batch-size", 2) == 0
    assert gzip.decompress(data) == (folder / "plain.csv").read_bytes()


def _torchvision(path: Path, side: int) -> torch.Tensor:
    transform = transforms.Compose(
        [
            transforms.Resize(side, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(side),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    image: torch.Tensor = transform(open_image(path.read_bytes()).image)
    return image


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (classifiers.torchscript_bytes, ["--trust-model"]),
        (lambda network: classifiers.traced_bytes(network, 32), []),
    ],
)
def test_torchscript_as_the_original_computed_it(
    folder: Path, make: Callable[[torch.nn.Module], bytes], options: list[str]
) -> None:
    network = classifiers.tiny_network()
    (folder / "m.pt").write_bytes(make(network))
    label_index.write(folder / "index.json", classifiers.LABELS)
    crops = [_crop(folder, f"{number}.jpg", number) for number in range(3)]
    assert (
        _run(
            *("m.pt", "crops", "out.csv", "--classifier-categories", "index.json"),
            *("--image-size", 32, "--batch-size", 64, "--num-workers", 8, *options),
        )
        == 0
    )
    rows = _rows(folder / "out.csv")
    for path in crops:
        with torch.inference_mode():
            logits = network(_torchvision(path, 32)[None])
        expected = torch.softmax(logits, dim=1)[0].numpy()
        np.testing.assert_allclose(rows[path.name], expected, atol=1e-5)


def test_a_torchscript_file_that_writes_a_file_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Writes(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            torch.save(x, "trace")
            return x

    (folder / "m.pt").write_bytes(classifiers.torchscript_bytes(Writes()))
    (folder / "trace").unlink(missing_ok=True)
    _crop(folder, "a.jpg")
    assert _run("m.pt", "crops", "out.csv") == 1
    assert _last_line(capsys).startswith(
        "error: m.pt: refused for the operation torch.save (__torch__"
    )
    assert not (folder / "trace").exists()
    assert not (folder / "out.csv").exists()


def test_broken_crops_are_listed_and_left_out(folder: Path, model: Path) -> None:
    for number in range(NUMBER):
        _crop(folder, f"{number:02d}.jpg", number)
    assert _run(model, "crops", "whole.csv", "--batch-size", 4) == 0
    whole = _rows(folder / "whole.csv")
    next(folder.glob("*log_*")).unlink()
    (folder / "crops" / "03.jpg").write_bytes(b"")
    (folder / "crops" / "06.jpg").write_bytes(b"text")
    assert _run(model, "crops", "out.csv", "--batch-size", 4) == 0
    rows = _rows(folder / "out.csv")
    assert set(whole) - set(rows) == {"03.jpg", "06.jpg"}
    for name, row in rows.items():
        assert row.tobytes() == whole[name].tobytes()
    log = _log(folder)
    assert log["failures"] == [
        {"item": "03.jpg", "reason": "empty file"},
        {"item": "06.jpg", "reason": "not an image file"},
    ]
    assert log["counts"] == {"crops": NUMBER, "rows": NUMBER - 2, "failed": 2}


def test_too_many_broken_crops_exit_4(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _crop(folder, "a.jpg")
    (folder / "crops" / "b.jpg").write_bytes(b"text")
    assert _run(model, "crops", "out.csv", "--max-failures", 1) == 0
    assert _run(model, "crops", "out.csv", "--max-failures", 0) == 4
    assert _last_line(capsys) == ("error: 1 of 2 items failed; --max-failures allows 0")
    (folder / "crops" / "a.jpg").write_bytes(b"text")
    assert _run(model, "crops", "out.csv") == 4
    assert _last_line(capsys) == "error: all 2 items failed; see the step log"
    assert _rows(folder / "out.csv") == {}


def test_crops_above_max_pixels_fail(folder: Path, model: Path) -> None:
    _crop(folder, "a.jpg")
    world.save_jpeg(folder / "crops" / "b.jpg", world.photograph(100, 100))
    assert _run(model, "crops", "out.csv", "--max-pixels", 9999) == 0
    assert _log(folder)["failures"] == [
        {
            "item": "b.jpg",
            "reason": "100 x 100 pixels are more than 9999 (--max-pixels)",
        }
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["m/x.onnx", "crops", "out.csv"],
            (
                "error: no such model: m/x.onnx; a file, or one of: "
                "efficientnet-lite0-imagenet, efficientnet-lite1-imagenet, "
                "efficientnet-lite2-imagenet"
            ),
        ),
        (
            ["model/m.onnx", "empty", "out.csv"],
            "error: no image below empty; crop_detections writes them",
        ),
        (
            ["model/m.onnx", "empty", "out.csv", "-d", "detections.json"],
            "error: no crop of detections.json in empty; crop_detections writes them",
        ),
        (
            ["model/m.onnx", "crops", "out.csv", "-c", "index.json"],
            "error: --classifier-categories names 2 categories, the model has 3 outputs",
        ),
        (
            ["model/m.onnx", "crops", "out.csv", "-c", "missing.json"],
            "error: missing.json: cannot read: No such file or directory",
        ),
        (
            ["model/m.onnx", "crops", "out.csv", "--image-size", "17"],
            (
                "error: --image-size 17: m.onnx takes 16, as its manifest says; leave "
                "the option out"
            ),
        ),
    ],
)
@pytest.mark.usefixtures("model")
def test_known_failures(
    folder: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _crop(folder, "a.jpg")
    (folder / "empty").mkdir()
    _detections(folder, {"a.jpg": 1}, detector=DETECTOR)
    label_index.write(folder / "index.json", ["a", "b"])
    assert _run(*arguments) == 1
    assert _last_line(capsys) == message
    assert not (folder / "out.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["out.txt"], "out.txt ends neither in .csv nor in .csv.gz"),
        (["out.csv", "--device", "tpu"], "'tpu' is not auto, cpu or cuda:N"),
        (["out.csv", "--batch-size", "0"], "0 is not a whole number above 0"),
    ],
)
def test_usage(
    folder: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "crops").mkdir()
    with pytest.raises(SystemExit) as caught:
        _run("m.pt", "crops", *arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_an_onnx_model_runs_without_torch(folder: Path, model: Path) -> None:
    _crop(folder, "a.jpg")
    program = (
        "import sys; from classification import run_classifier\n"
        f"code = run_classifier.main([{str(model)!r}, 'crops', 'out.csv'])\n"
        "print(code, sorted({'torch', 'torchvision', 'timm'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 []\n"


def test_d37_other_inputs_need_restart(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _crop(folder, "a.jpg")
    with Journal.open(folder / "out.csv.journal", key="0" * 64) as journal:
        journal.append([{"rows": ""}])
    assert _run(model, "crops", "out.csv") == 1
    assert "--restart" in _last_line(capsys)
    assert _run(model, "crops", "out.csv", "--restart") == 0


def test_calibrated_probabilities_are_written_and_told_of(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        _crop(folder, f"{number}.jpg", number)
    assert _run(model, "crops", "plain.csv") == 0
    next(folder.glob("*log_*")).unlink()
    classifiers.calibrate(model, temperature=2.0)
    assert _run(model, "crops", "out.csv") == 0
    told = capsys.readouterr().err
    assert "calibrated by temperature scaling, T = 2\n" in told
    for name, row in _rows(folder / "plain.csv").items():
        raised = np.sqrt(row)
        np.testing.assert_allclose(
            _rows(folder / "out.csv")[name], raised / raised.sum(), atol=1e-6
        )
    scaling = {"method": "temperature", "temperature": 2.0}
    assert _log(folder)["options"]["calibration"] == scaling
    assert predictions_info.find(folder / "plain.csv").calibration is None
    assert predictions_info.find(
        folder / "out.csv"
    ).calibration == predictions_info.Applied(
        method="temperature", temperature=2.0, crops=9, ece_before=0.25, ece_after=0.125
    )
    assert _run(model, "crops", "out.csv", "--no-calibration") == 0
    assert (folder / "out.csv").read_bytes() == (folder / "plain.csv").read_bytes()
    assert not (folder / "out.csv.info.json").exists()


def test_another_calibration_needs_restart(
    folder: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _crop(folder, "a.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "remove", lambda _: None)  # as if killed before its end
        assert _run(model, "crops", "out.csv") == 0
    assert (folder / "out.csv.journal").exists()
    classifiers.calibrate(model, temperature=2.0)
    assert _run(model, "crops", "out.csv") == 1
    assert "--restart" in _last_line(capsys)
    assert _run(model, "crops", "out.csv", "--no-calibration") == 0


# --- shards ---------------------------------------------------------------------


@pytest.mark.parametrize("of", [1, 3, 8])
@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_merged_shards_are_the_whole_run(
    folder: Path, model: Path, name: str, of: int
) -> None:
    classifiers.calibrate(model, temperature=2.0)
    for number in range(9):
        _crop(folder, f"{number}.jpg", number)
    (folder / "crops" / "4.jpg").write_bytes(b"broken")
    flags = ("--batch-size", 2, "--device", "cpu")
    assert _run(model, "crops", f"whole_{name}", *flags) == 0
    for number in range(of, 0, -1):
        code = _run(model, "crops", name, *flags, "--shard", f"{number}/{of}")
        assert code == 0
    assert merge_shards.main([name, "--remove-shards"]) == 0
    for end in ("", ".info.json"):
        whole = (folder / f"whole_{name}{end}").read_bytes()
        assert (folder / f"{name}{end}").read_bytes() == whole
    assert not list(folder.glob("out.shard-*"))


def test_a_complete_shard_is_not_run_again(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        _crop(folder, f"{number}.jpg", number)
    line = (model, "crops", "out.csv", "--batch-size", 1, "--shard", "2/3")
    assert _run(*line) == 0
    assert list(_rows(folder / "out.shard-002-of-003.csv")) == ["1.jpg"]
    (log,) = folder.glob("run_classifier.shard-002-of-003_log_*.json")
    counts = json.loads(log.read_text())["counts"]
    assert counts == {"crops": 1, "rows": 1, "failed": 0}
    assert _run(*line) == 0
    assert _last_line(capsys).startswith("out.shard-002-of-003.csv is complete;")
    assert _run(*line, "--restart") == 0
    assert "1 crops classified" in _last_line(capsys)


# --- which boxes and crops rows are of --------------------------------------------


def _recorded_crop(folder: Path, name: str, box: Box) -> None:
    path = _crop(folder, name)
    record = CropRecord(
        image="a.jpg",
        image_digest=None,
        box=box,
        geometry=Geometry(shape="square", jpeg_quality=75, ignore_exif=False),
        detector=DETECTOR,
        detector_digest=None,
        annotated=False,
    )
    path.write_bytes(crop_record.insert(path.read_bytes(), record))


def _boxes_told(path: Path) -> list[bytes]:
    found = predictions_info.find(path).boxes
    assert found is not None
    return [row.tobytes() for row in found]


def test_rows_know_the_boxes_that_their_crops_tell_of(
    folder: Path, model: Path
) -> None:
    box = Box(0.1, 0.1, 0.5, 0.5)
    _recorded_crop(folder, "a.jpg", box)
    (folder / "crops" / "b.jpg").write_bytes(b"broken")
    _crop(folder, "c.jpg")
    assert _run(model, "crops", "out.csv") == 0
    assert _boxes_told(folder / "out.csv") == [digest_box(box), bytes(8)]


def test_crops_without_a_record_are_of_the_boxes_given(
    folder: Path, model: Path
) -> None:
    _crop(folder, f"a.jpg___crop00_{DETECTOR}.jpg")
    boxes = _detections(folder, {"a.jpg": 1}, detector=DETECTOR)
    assert _run(model, "crops", "out.csv", "-d", boxes) == 0
    assert _boxes_told(folder / "out.csv") == [digest_box(Box(0.1, 0.1, 0.5, 0.5))]


def _interrupt(monkeypatch: pytest.MonkeyPatch, after: int, *line: object) -> None:
    """Ends a run after so many batches."""
    predict, batches = OnnxClassifier.predict, []

    def stopping(self: OnnxClassifier, squares: Any) -> Any:  # noqa: ANN401 - arrays
        if len(batches) == after:
            raise KeyboardInterrupt
        batches.append(len(squares))
        return predict(self, squares)

    with monkeypatch.context() as patched:
        patched.setattr(OnnxClassifier, "predict", stopping)
        assert _run(*line) == 130


@pytest.mark.parametrize("change", ["replaced", "same size and more", "broken", "gone"])
def test_crops_that_changed_are_classified_anew(
    folder: Path,
    model: Path,
    change: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(12):
        _crop(folder, f"{number:02d}.jpg", number)
    (folder / "crops" / "07.jpg").write_bytes(b"broken")
    line = (model, "crops", "out.csv", "--batch-size", 2)
    _interrupt(monkeypatch, 5, *line)
    path = folder / "crops" / "04.jpg"
    if change == "replaced":
        _crop(folder, "04.jpg", 99)
    elif change == "broken":
        path.write_bytes(b"x" * path.stat().st_size)
    elif change == "gone":
        path.write_bytes(b"")
    else:
        data = bytearray(path.read_bytes())
        data[-40] ^= 0x55
        path.write_bytes(data)
        _crop(folder, "07.jpg", 5)  # which could not be read before
    os.utime(path)
    capsys.readouterr()
    computed: list[int] = []
    predict = OnnxClassifier.predict

    def counting(self: OnnxClassifier, squares: Any) -> Any:  # noqa: ANN401 - arrays
        computed.append(len(squares))
        return predict(self, squares)

    monkeypatch.setattr(OnnxClassifier, "predict", counting)
    assert _run(*line) == 0
    batches = 2 if change == "same size and more" else 1
    assert f"{batches} batches of them hold crops that changed" in (
        capsys.readouterr().err
    )
    assert len(computed) == 1 + batches
    found = (folder / "out.csv").read_bytes()
    assert _run(*line, "--restart") == 0
    assert (folder / "out.csv").read_bytes() == found


def test_crops_that_were_written_anew_are_the_same(
    folder: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(6):
        _crop(folder, f"{number:02d}.jpg", number)
    line = (model, "crops", "out.csv", "--batch-size", 2)
    _interrupt(monkeypatch, 2, *line)
    os.utime(folder / "crops/00.jpg", ns=(1, 1))
    assert _run(*line) == 0
    assert "changed" not in capsys.readouterr().err


@pytest.mark.parametrize("shard", [False, True])
def test_equal_size_and_time_with_other_bytes_is_the_matter_of_verify(
    folder: Path,
    model: Path,
    shard: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for number in range(6):
        _crop(folder, f"{number:02d}.jpg", number)
    line: tuple[object, ...] = (model, "crops", "out.csv", "--batch-size", 2)
    if shard:
        line = (*line, "--shard", "1/1")
        assert _run(*line) == 0
    else:
        _interrupt(monkeypatch, 2, *line)
    path = folder / "crops/00.jpg"
    then, data = path.stat().st_mtime_ns, bytearray(path.read_bytes())
    data[-40] ^= 0x55
    path.write_bytes(data)
    os.utime(path, ns=(then, then))
    if shard:
        assert _run(*line) == 0
        assert "is complete" in _last_line(capsys)
    assert _run(*line, "--verify") == 0
    said = capsys.readouterr().err
    assert ("6 crops classified" if shard else "1 batches of them hold crops") in said


def test_a_complete_shard_whose_crops_changed_is_run_again(
    folder: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        _crop(folder, f"{number}.jpg", number)
    line = (model, "crops", "out.csv", "--batch-size", 1, "--shard")
    assert _run(*line, "1/2") == _run(*line, "2/2") == 0
    _crop(folder, "1.jpg", 99)
    assert _run(*line, "2/2") == 0
    assert "is complete" in _last_line(capsys)
    assert _run(*line, "1/2") == 0
    assert "2 crops classified" in _last_line(capsys)
    assert merge_shards.main(["out.csv", "--remove-shards"]) == 0
    assert _run(model, "crops", "whole.csv", "--batch-size", 1) == 0
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    assert not list(folder.glob("out.shard-*"))


# --- after a kill ---------------------------------------------------------------

# A child that stops for a moment after each batch, and counts the crops it computed.
CHILD = """
import sys, time
from classification import run_classifier
from classification.modeling.onnx import OnnxClassifier

predict = OnnxClassifier.predict

def slow(self, squares):
    with open("computed", "a") as file:
        file.write("x" * len(squares))
    time.sleep(float(sys.argv[1]))
    return predict(self, squares)

OnnxClassifier.predict = slow
sys.exit(run_classifier.main(sys.argv[2:]))
"""
KILLED_CROPS, BATCH = 60, 4


def _start(pause_s: float, *arguments: object) -> subprocess.Popen[bytes]:
    words = [str(word) for word in arguments]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(pause_s), *words], stderr=subprocess.DEVNULL
    )


def _computed(folder: Path) -> int:
    path = folder / "computed"
    return len(path.read_text()) if path.exists() else 0


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_d36_d37_a_killed_run_goes_on(folder: Path, model: Path, name: str) -> None:
    for number in range(KILLED_CROPS):
        _crop(folder, f"{number:02d}.jpg", number)
    (folder / "crops" / "05.jpg").write_bytes(b"broken")
    arguments = (model, "crops", name, "--batch-size", BATCH, "--device", "cpu")
    with _start(0, *arguments) as undisturbed:
        assert undisturbed.wait(timeout=120) == 0
    alone, expected = _computed(folder), (folder / name).read_bytes()
    (folder / "computed").unlink()
    (folder / name).unlink()

    with _start(0.1, *arguments) as killed:
        limit = time.monotonic() + 120
        while _computed(folder) < 0.6 * KILLED_CROPS and time.monotonic() < limit:
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=60)
    assert not (folder / name).exists()
    assert (folder / f"{name}.journal").exists()
    with _start(0, *arguments) as resumed:
        assert resumed.wait(timeout=120) == 0
    assert _computed(folder) <= alone + BATCH
    assert (folder / name).read_bytes() == expected
    assert not (folder / f"{name}.journal").exists()
    logs = [json.loads(p.read_text()) for p in folder.glob("run_classifier_log_*")]
    assert all(log["failures"][0]["item"] == "05.jpg" for log in logs)
    assert len(logs) == 2
