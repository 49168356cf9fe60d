"""The main job from end to end, each step by its ``main``, on a world drawn here."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from classification.artifacts import crop_index
from tests import world
from tests.classifiers import save_exported
from tests.commands import command
from tests.detection.detectors.graphs import constant_detector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LABELS = ("elk", "moose", "turkey", "wrench")

TARGETS = """output_label,type,content
deer,family,cervidae
bird,class,aves
"""
CLASSIFIER = """output_label,type,content
elk,row,idfg|elk
moose,row,caltech|moose
turkey,row,caltech|turkey
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a folder with images, models and specifications, and goes there."""
    monkeypatch.chdir(tmp_path)
    write_new_images(tmp_path)
    return tmp_path


def write_new_images(tmp_path: Path) -> None:
    for number in range(5):
        scene = world.photograph(160, 120, seed=number)
        name = f"images/cam{number % 2}/IMG_{number:04}.JPG"
        world.save_jpeg(tmp_path / name, scene, orientation=6 if number == 3 else 1)
    (tmp_path / "images/cam0/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (20, 32, 16, 24, 0.9, 1, 0, 0)  # an animal
    output[1] = (44, 32, 16, 16, 0.8, 0, 1, 0)  # a person
    output[2] = (44, 20, 8, 8, 0.5, 1, 0, 0)  # a small animal
    constant_detector(tmp_path / "detector.onnx", output)
    save_exported(tmp_path / "classifier.onnx", labels=LABELS)
    (tmp_path / "targets.csv").write_text(TARGETS, encoding="utf-8")
    (tmp_path / "classifier_spec.csv").write_text(CLASSIFIER, encoding="utf-8")
    world.write_taxonomy(tmp_path / "taxonomy.csv", world.DEER_AND_BIRDS)
    (tmp_path / "index_to_name.json").write_text(
        json.dumps(dict(enumerate(LABELS))), encoding="utf-8"
    )


STEPS = """
detection.run_detector_batch detector.onnx images detections.json --recursive --output_relative_filenames --threshold 0.1 --logdir logs
classification.crop_detections detections.json crops --images-dir images --threshold 0.4 --square-crops --logdir logs
classification.run_classifier classifier.onnx crops classifier_output.csv.gz --detections-json detections.json --logdir logs
classification.csv_to_json targets.csv targets.json --json-indent 1
classification.csv_to_json classifier_spec.csv classifier_spec.json
classification.map_classification_categories targets.json classifier_spec.json taxonomy.csv --output mapping.json --classifier-label-index index_to_name.json
classification.aggregate_classifier_probs classifier_output.csv.gz --target-mapping mapping.json --output-csv remapped.csv.gz --output-label-index remapped_index.json
classification.merge_classification_detection_output remapped.csv.gz remapped_index.json --output-json merged.json --classifier-name tiny --threshold 0.05 --detection-json detections.json
""".strip().splitlines()


def run_all(steps: Sequence[str] = STEPS) -> None:
    for step in steps:
        name, *arguments = step.split()
        assert command(name).main(arguments) == 0, step


def snapshot(base: Path) -> dict[str, bytes]:
    """Returns every file but those that hold the clock: logs and the crops' index."""
    return {
        str(path.relative_to(base)): path.read_bytes()
        for path in base.rglob("*")
        if path.is_file()
        and path.parent.name != "logs"
        and path.name != crop_index.FILENAME
    }


def merged_boxes(base: Path) -> list[dict[str, Any]]:
    document = json.loads((base / "merged.json").read_bytes())
    assert document["classification_categories"] == {
        "0": "bird",
        "1": "deer",
        "2": "other",
    }
    return [box for image in document["images"] for box in image["detections"] or []]


def test_new_images_become_detections_with_classifications(base: Path) -> None:
    run_all()
    boxes = merged_boxes(base)
    animals = [box for box in boxes if box["category"] == "1"]
    assert len(boxes) == 15
    assert len(animals) == 10
    assert all("classifications" in box for box in animals)
    assert all("classifications" not in box for box in boxes if box not in animals)
    for box in animals:
        probabilities = [p for _, p in box["classifications"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) > 0.85  # what is left out is below the threshold


def test_the_broken_image_is_listed_and_ends_nothing(base: Path) -> None:
    run_all()
    images = json.loads((base / "merged.json").read_bytes())["images"]
    broken = next(image for image in images if image["file"] == "cam0/broken.jpg")
    assert broken["detections"] is None
    assert broken["failure"]
    assert len(images) == 6


def test_running_every_step_again_gives_the_same_bytes(base: Path) -> None:
    run_all()
    first = snapshot(base)
    run_all()
    assert snapshot(base) == first


def test_running_from_nothing_gives_the_same_bytes(base: Path, tmp_path: Path) -> None:
    inputs = snapshot(base)
    run_all()
    first = snapshot(base)
    for name in first.keys() - inputs.keys():
        (tmp_path / name).unlink()
    run_all()
    assert snapshot(base) == first


SPEC = """output_label,type,content
deer,family,cervidae
bird,class,aves
!bird,genus,meleagris
"""
SITES = 6
PER_SITE = 4


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes two datasets, a detector, a taxonomy and a specification, and goes there."""
    monkeypatch.chdir(tmp_path)
    write_labelled_images(tmp_path)
    return tmp_path


def write_labelled_images(tmp_path: Path) -> None:
    write_csv_dataset(tmp_path)
    write_coco_dataset(tmp_path)
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (20, 32, 16, 24, 0.9, 1, 0, 0)  # an animal
    output[1] = (44, 32, 16, 16, 0.8, 0, 1, 0)  # a person
    constant_detector(tmp_path / "detector.onnx", output)
    (tmp_path / "spec.csv").write_text(SPEC, encoding="utf-8")
    world.write_taxonomy(tmp_path / "taxonomy.csv", world.DEER_AND_BIRDS)


def draw(path: Path, seed: int) -> None:
    world.save_jpeg(path, world.photograph(160, 120, seed=seed))


def write_csv_dataset(base: Path) -> None:
    """A CSV of a person's own: no boxes, one corrupt image, one label nobody wants."""
    rows = []
    for site in range(SITES):
        for number in range(PER_SITE):
            name = f"site{site}/IMG_{number:04}.JPG"
            label = ("Elk", "deer", "bird", "#ref!")[(site + number) % 4]
            draw(base / "images/idfg" / name, seed=10 * site + number)
            rows.append((name, label, str(site), f"burst {number // 2}"))
    (base / "images/idfg/site0/IMG_0000.JPG").write_bytes(b"\xff\xd8\xff cut off")
    with (base / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["filename", "species", "camera", "burst"])
        table.writerows(rows)


def write_coco_dataset(base: Path) -> None:
    """A COCO Camera Traps file with its separate file of boxes in pixels."""
    names = ("moose", "turkey", "empty")
    images, annotations, boxes = [], [], []
    for number in range(9):
        name = f"cct_images/{number}.jpg"
        draw(base / "images/Caltech" / name, seed=100 + number)
        images.append(
            {
                "id": f"im{number}",
                "file_name": name,
                "width": 160,
                "height": 120,
                "location": number % 3,
            }
        )
        annotations.append(
            {"id": f"a{number}", "image_id": f"im{number}", "category_id": number // 3}
        )
        if number < 6:
            box = {"id": f"b{number}", "image_id": f"im{number}", "category_id": 1}
            boxes.append({**box, "bbox": [16, 24, 64, 48]})
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    species = {"images": images, "annotations": annotations, "categories": categories}
    drawn = {
        "images": images[:6],
        "annotations": boxes,
        "categories": [{"id": 1, "name": "animal"}],
    }
    (base / "cct.json").write_text(json.dumps(species), encoding="utf-8")
    (base / "cct_boxes.json").write_text(json.dumps(drawn), encoding="utf-8")


TRAINING_STEPS = """
classification.import_metadata labels.csv --megadb megadb --dataset idfg --columns file=filename,label=species,location=camera,sequence=burst --images-dir images/idfg
classification.import_metadata cct.json --megadb megadb --dataset Caltech --boxes cct_boxes.json --images-dir images/Caltech
classification.csv_to_json spec.csv run/label_spec.json --json-indent 1
classification.json_validator run/label_spec.json taxonomy.csv --megadb megadb --output-dir run --json-indent 1
classification.detect_and_crop run/queried_images.json --detector-output-cache-dir mdcache --detector-version tiny --run-detector --detector detector.onnx --megadb megadb --cropped-images-dir crops --square-crops --threshold 0.4
classification.create_classification_dataset run --mode csv splits --queried-images-json run/queried_images.json --cropped-images-dir crops --detector-output-cache-dir mdcache --detector-version tiny --threshold 0.4 --val-frac 0.2 --test-frac 0.2
""".strip().splitlines()


def in_run(base: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((base / "run" / name).read_bytes())
    return document


def training_files(base: Path) -> dict[str, bytes]:
    """Returns every file but the logs and locks, which hold the clock or nothing."""
    return {
        name: data
        for name, data in snapshot(base).items()
        if "_log_" not in name and not name.endswith(".lock")
    }


def test_labelled_images_become_a_training_set(training: Path) -> None:
    run_all(TRAINING_STEPS)
    queried = in_run(training, "queried_images.json")
    labels = {name: image["label"] for name, image in queried.items()}
    assert labels["Caltech/cct_images/0.jpg"] == ["deer"]
    assert "Caltech/cct_images/3.jpg" not in labels  # a turkey, which is excluded
    assert queried["Caltech/cct_images/0.jpg"]["location"] == "0"
    assert len(queried["Caltech/cct_images/0.jpg"]["bbox"]) == 1
    splits = in_run(training, "splits.json")
    assert all(splits[name] for name in ("train", "val", "test"))
    assert in_run(training, "label_index.json") == {"0": "bird", "1": "deer"}


def test_training_steps_run_again_give_the_same_bytes(training: Path) -> None:
    run_all(TRAINING_STEPS)
    first = training_files(training)
    run_all(TRAINING_STEPS)
    assert training_files(training) == first


TRAIN = "classification.train_classifier run crops --model-name timm/test_resnet --image-size 32 --epochs 1 --batch-size 8 --lr 0.02 --seed 1 --device cpu --logdir logdir"
AFTER_TRAINING = """
classification.evaluate_model RUN/params.json RUN/ckpt_0.pt --output-dir out --splits train val test --device cpu
classification.export_model RUN/ckpt_0.pt out/tiny.onnx
classification.calibrate_classifier out/outputs_val.csv.gz out/tiny.onnx
classification.run_classifier out/tiny.onnx crops out/classifier_output.csv.gz --device cpu --logdir logs
classification.merge_classification_detection_output out/classifier_output.csv.gz run/label_index.json --output-json out/merged.json --classifier-name tiny --threshold 0.05 --queried-images-json run/queried_images.json --detector-output-cache-dir mdcache --detector-version tiny
"""


def test_a_training_set_becomes_a_calibrated_classifier(training: Path) -> None:
    run_all([*TRAINING_STEPS, TRAIN])
    [folder] = (training / "logdir").glob("2*")
    steps = AFTER_TRAINING.replace("RUN", f"logdir/{folder.name}").strip().splitlines()
    run_all(steps)

    merged = json.loads((training / "out/merged.json").read_bytes())
    assert merged["classification_categories"] == {"0": "bird", "1": "deer"}
    classified = [
        box["classifications"]
        for image in merged["images"]
        for box in image["detections"] or []
        if "classifications" in box
    ]
    assert len(classified) == len(list((training / "crops").rglob("*.jpg")))
    manifest = json.loads((training / "out/tiny.manifest.json").read_bytes())
    told = merged["info"]["classifier_metadata"]["calibration"]
    scaling = manifest["calibration"]["scaling"]
    assert (told["method"], told["temperature"]) == tuple(scaling.values())
    assert told["crops"] == manifest["calibration"]["crops"] > 0

    first = training_files(training)
    run_all(steps)
    assert training_files(training) == first
