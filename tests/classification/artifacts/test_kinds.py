from __future__ import annotations

import gzip
import json
import zipfile
from typing import TYPE_CHECKING

import pytest
from onnx import TensorProto, helper

from classification.artifacts import included_labels, kinds
from classification.runtime.journal import Journal
from classification.runtime.outputs import Kind
from detection.service.task_table import TaskTable
from taxonomy.graph import DatasetLabel
from tests.commands import ROOT

if TYPE_CHECKING:
    from pathlib import Path

GOLDEN = ROOT / "tests/golden"
REPORTS = ROOT / "classification/reports"
EXTENDS = '{% extends "base.html.j2" %}'
# The golden files of each kind.
OWN = {
    "DETECTIONS": {"detections.json", "detection_cache.json"},
    "LABEL_INDEX": {"label_index.json"},
    "LABEL_SPEC": {"label_spec.json"},
    "TARGET_MAPPING": {"target_to_classifier_labels.json"},
    "QUERIED_IMAGES": {"queried_images.json"},
    "IMAGE_COUNTS": {"image_counts_by_label.json"},
    "SPLITS": {"splits.json"},
    "TASKS": {"detect_and_crop_tasks.json"},
    "EVALUATION": {"metrics.json"},
    "PREDICTIONS": {"classifier_output.csv", "classifier_output.csv.gz"},
    "DATASET_CSV": {"classification_ds.csv"},
    "CROPS_LEFT_OUT": {"classification_ds_left_out.csv", "left_out.csv"},
    "SPLIT_SUMMARY": {"splits_summary.csv"},
    "IMAGE_STATUS": {"image_status.csv"},
    "LOCATION_COUNTS": {"queried_images_counts.csv"},
    "LABEL_STATS": {"label_stats.csv"},
    "LOCATION_STATS": {"location_stats.csv"},
    "OVERALL_METRICS": {"overall_metrics.csv"},
    "CANDIDATES": {"mislabeled_candidates.csv"},
    "NPZ": {"isotonic_calibration.npz", "confusion_matrices.npz"},
    "MANIFEST": set(),
    "INCLUDED_LABELS": set(),
    "JOURNAL": set(),
    "DATABASE": set(),
    "PAGE": set(),
    "MODEL": set(),
}


def kind(name: str) -> Kind:
    found: Kind = getattr(kinds, name)
    return found


def test_each_kind_is_in_the_table() -> None:
    assert {name for name in vars(kinds) if isinstance(getattr(kinds, name), Kind)} == {
        *OWN
    }


@pytest.mark.parametrize("name", OWN)
def test_a_kind_fits_its_own_golden_files_alone(name: str) -> None:
    files = [path for path in GOLDEN.iterdir() if path.is_file()]
    assert {path.name for path in files if kind(name).fits(path)} == OWN[name]


@pytest.mark.parametrize("name", OWN)
def test_what_is_no_text_is_of_no_kind(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    for data in (
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n",
        b"\x1f\x8bno",
        b"PK\x03\x04",
        b"a\n",
    ):
        path.write_bytes(data * 300)
        assert not kind(name).fits(path), data


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("DETECTIONS", '{"images":[{"file":"a","detections":[]}],"info":{}}'),
        ("DETECTIONS", '\ufeff { "info": {"detector": "md", "x": 1} ,'),
        ("LABEL_SPEC", '{"a": {"taxa": [{"level"'),
        ("LABEL_SPEC", "{}"),
        ("TARGET_MAPPING", '{"a\\"b": [], "c": ["d"]}'),
        ("TASKS", "[]\n"),
        ("JOURNAL", "ct-journal 1 5f0c\n"),
        ("INCLUDED_LABELS", "{'bear': {('caltech', 'bear')}}"),
        ("MANIFEST", '{\n "format": "cameratraps-classifier 1",\n'),
        ("PREDICTIONS", "path,label,weight,bear\n"),
        ("IMAGE_STATUS", "image,status,reason\r\n"),
    ],
)
def test_what_other_versions_wrote_is_of_the_kind(
    name: str, text: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_text(text, encoding="utf-8")
    assert kind(name).fits(tmp_path / "a")
    (tmp_path / "a").write_bytes(gzip.compress(text.encode()))
    assert kind(name).fits(tmp_path / "a")


def test_images_of_other_standards_are_no_detections(tmp_path: Path) -> None:
    coco = {
        "info": {"version": "1", "description": "x"},
        "images": [{"id": "1", "file_name": "a.jpg"}],
        "annotations": [],
        "categories": [],
    }
    (tmp_path / "a").write_text(json.dumps(coco))
    assert not kinds.DETECTIONS.fits(tmp_path / "a")


def test_models_are_told_from_checkpoints_and_archives(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    info = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    node = helper.make_node("Identity", ["x"], ["y"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node], "g", [info], [out]))
    path.write_bytes(model.SerializeToString())
    assert kinds.MODEL.fits(path)
    for names, is_model in (
        (["a/data.pkl", "a/constants.pkl", "a/code/a.py"], True),
        (["a/data.pkl", "a/data/0"], False),
        (["x.npy"], False),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"")
        assert kinds.MODEL.fits(path) == is_model


def test_what_is_written_today_is_of_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "a"
    included_labels.write(path, {"b'r": [DatasetLabel("caltech", "bear")], "c": []})
    assert kinds.INCLUDED_LABELS.fits(path)
    with Journal.open(tmp_path / "j", key="5f0c"):
        pass
    assert kinds.JOURNAL.fits(tmp_path / "j")
    with TaskTable.open(tmp_path / "t"):
        pass
    assert kinds.DATABASE.fits(tmp_path / "t")
    for template in ("dataset", "detections", "results", "review"):
        assert (REPORTS / f"{template}.html.j2").read_text().startswith(EXTENDS)
    head, _, _ = (REPORTS / "base.html.j2").read_text().partition("{{")
    path.write_text(head)
    assert kinds.PAGE.fits(path)
