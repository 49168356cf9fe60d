"""Event files, read back with TensorBoard's own reader."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from classification.modeling import board
from classification.modeling.board import Board

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("a/b: c", "deer", "never")


def read(logdir: Path) -> EventAccumulator:
    events = EventAccumulator(str(logdir), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    return events


def scalars(events: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(e.step, pytest.approx(e.value, rel=1e-6)) for e in events.Scalars(tag)]


def picture(events: EventAccumulator, tag: str) -> np.ndarray:
    (event,) = events.Images(tag)
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))


def test_an_epoch_has_the_originals_tags(tmp_path: Path) -> None:
    recall = {"deer": 0.5, "never": float("nan")}
    with Board(tmp_path) as written:
        written.scalar("lr", 0.016, 0)
        for step in (0, 1):
            written.epoch(
                "val", step, loss=2.5 - step, top1=40, top3=70, recall_by_label=recall
            )
        written.epoch("train", 0, loss=3, top1=10, top3=20)
    events = read(tmp_path)
    assert sorted(events.Tags()["scalars"]) == [
        "lr",
        "train/acc_top1",
        "train/acc_top3",
        "train/loss",
        "val/acc_top1",
        "val/acc_top3",
        "val/label_recall/deer",
        "val/loss",
    ]
    assert scalars(events, "val/loss") == [(0, 2.5), (1, 1.5)]
    assert scalars(events, "lr") == [(0, 0.016)]
    assert scalars(events, "val/label_recall/deer") == [(0, 0.5), (1, 0.5)]


def test_d64_a_label_is_one_part_of_a_tag(tmp_path: Path) -> None:
    labels = ["a/b", "a", "a%2Fb", "species: deer", "ünïcode (other)"]
    with Board(tmp_path) as written:
        written.epoch(
            "val",
            0,
            loss=1,
            top1=1,
            top3=1,
            recall_by_label={label: n / 10 for n, label in enumerate(labels)},
        )
    tags = [t for t in read(tmp_path).Tags()["scalars"] if "label_recall" in t]
    assert tags == [
        "val/label_recall/a%2Fb",
        "val/label_recall/a",
        "val/label_recall/a%252Fb",
        "val/label_recall/species%3A deer",
        "val/label_recall/ünïcode (other)",
    ]
    assert board.tag("hparam", "val", "a/b") == "hparam/val/a%2Fb"


def test_d19_the_confusion_matrix_is_a_readable_picture(tmp_path: Path) -> None:
    counts = np.array([[3, 1, 0], [0, 0, 0], [1, 0, 999]])
    with Board(tmp_path) as written:
        written.confusion("test", 4, counts, LABELS)
    events = read(tmp_path)
    image = picture(events, "confusion_matrix/test")
    assert image.shape[2] == 3
    assert min(image.shape[:2]) > 3 * 45
    assert events.Images("confusion_matrix/test")[0].step == 4


def test_pr_curves_of_the_labels_that_have_examples(tmp_path: Path) -> None:
    probabilities = np.array(
        [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.3, 0.7, 0], [0.6, 0.4, 0]], np.float32
    )
    with Board(tmp_path) as written:
        written.pr_curves("val", 2, probabilities, np.array([0, 0, 1, 1]), LABELS)
    events = read(tmp_path)
    assert sorted(events.Tags()["tensors"]) == [
        "pr_curve/val/a%2Fb%3A c",
        "pr_curve/val/deer",
    ]
    (event,) = events.Tensors("pr_curve/val/deer")
    # Rows: true and false positives, true and false negatives, precision, recall; the
    # columns are thresholds from 0 to 1.
    curve = np.frombuffer(event.tensor_proto.tensor_content, np.float32)
    curve = (curve if curve.size else np.array(event.tensor_proto.float_val)).reshape(
        6, 127
    )
    assert curve[:2, 0].tolist() == [2, 2]
    middle = 63  # 0.5
    assert curve[:, middle].tolist() == [1, 0, 2, 1, 1, 0.5]


def test_examples_are_pictures_and_paths(tmp_path: Path) -> None:
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 0] = 200
    paths = ["ds/a___crop00_mdv4.1.jpg", "ds/`b`.jpg"]
    with Board(tmp_path) as written:
        written.examples(
            LABELS[0],
            "val",
            "fp",
            3,
            images=[red, red],
            captions=["x", "y"],
            paths=paths,
        )
        written.examples("deer", "val", "tp", 3, images=[], captions=[], paths=[])
    events = read(tmp_path)
    assert events.Tags()["images"] == ["a%2Fb%3A c/val/fp"]
    assert picture(events, "a%2Fb%3A c/val/fp")[180, 125].tolist() == [200, 0, 0]
    (text,) = events.Tags()["tensors"]
    assert text == "a%2Fb%3A c/val/fp_files/text_summary"
    (event,) = events.Tensors(text)
    assert event.tensor_proto.string_val[0].decode() == (
        "`ds/a___crop00_mdv4.1.jpg`\n\n`` ds/`b`.jpg ``"
    )


def test_hparams_are_in_a_folder_of_their_own(tmp_path: Path) -> None:
    with Board(tmp_path) as written:
        written.scalar("lr", 1, 0)
        written.hparams(
            {"model_name": "resnet18", "multilabel": False, "batch_size": 8},
            {"hparam/val/acc_top1": 80, "hparam/val/loss": float("nan")},
        )
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    events = read(folder)
    assert scalars(events, "hparam/val/acc_top1") == [(0, 80)]
    assert events.Tags()["scalars"] == ["hparam/val/acc_top1"]
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    said = data.session_start_info.hparams
    assert said["model_name"].string_value == "resnet18"
    assert said["batch_size"].number_value == 8
    assert said["multilabel"].bool_value is False


def test_a_resumed_run_hides_what_it_writes_again(tmp_path: Path) -> None:
    with Board(tmp_path) as written:
        for step in range(5):
            written.scalar("lr", step, step)
    with Board(tmp_path, purge_step=3) as written:
        written.scalar("lr", 30, 3)
    assert scalars(read(tmp_path), "lr") == [(0, 0), (1, 1), (2, 2), (3, 30)]


def test_what_was_flushed_is_there_before_the_end(tmp_path: Path) -> None:
    written = Board(tmp_path)
    written.scalar("lr", 1, 0)
    written.flush()
    assert scalars(read(tmp_path), "lr") == [(0, 1)]
    written.close()
