from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.runtime.errors import ModelError
from detection import detectors, models
from detection.boxes import Box
from detection.detectors import Options, tensorflow
from detection.records import Detection

if TYPE_CHECKING:
    from pathlib import Path

    from detection.detectors import Detector

BOXES = np.array(
    [[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1], [-0.1, 0.9, 1.2, 1.5], [0.3, 0.3, 0.3, 0.3]],
    dtype=np.float32,
)
SCORES = np.array([0.4999, 0.95, 0.8, 0.9], dtype=np.float32)
CLASSES = np.array([1, 2, 3, 1], dtype=np.float32)

SURE = (
    Detection("2", Box(0, 0, 1, 1), 0.95),
    Detection("3", Box(0.9, 0, 0.1, 1), 0.8),
)


def test_boxes_are_turned_round_clipped_and_sorted() -> None:
    found = tensorflow.to_detections(BOXES, SCORES, CLASSES, threshold=0.3)
    assert found == (*SURE, Detection("1", Box(0.2, 0.1, 0.4, 0.4), 0.5))


def test_the_threshold_is_compared_before_rounding() -> None:
    assert tensorflow.to_detections(BOXES, SCORES, CLASSES, threshold=0.5) == SURE


@pytest.mark.slow
class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def package(self) -> None:
        pytest.importorskip("tensorflow", reason="extra [tensorflow] is not installed")

    def graph(self, path: Path, *, image: str = "image_tensor") -> Path:
        """Writes a frozen graph with MegaDetector's tensors, answering as told above.

        Its first score is the mean of the image, so that the image has to arrive.
        """
        import tensorflow as package  # noqa: ICN001, PLC0415 - an extra

        tf = package.compat.v1
        with tf.Graph().as_default() as graph:
            shape = [1, None, None, 3]
            pixels = tf.placeholder(tf.uint8, shape, name=image)
            mean = tf.reduce_mean(tf.cast(pixels, tf.float32)) / 255
            scores = tf.concat([[mean], SCORES[1:]], axis=0)
            tf.identity(BOXES[np.newaxis], name="detection_boxes")
            tf.identity(scores[tf.newaxis], name="detection_scores")
            tf.identity(CLASSES[np.newaxis], name="detection_classes")
        path.write_bytes(graph.as_graph_def().SerializeToString())
        return path

    def load(self, path: Path) -> Detector:
        return detectors.load(models.resolve(str(path)), Options(device="cpu"))

    def test_a_frozen_graph_runs(self, tmp_path: Path) -> None:
        path = self.graph(tmp_path / "md_v4.1.0.pb")
        detector = self.load(path)
        assert detector.categories == {"1": "animal", "2": "person", "3": "vehicle"}
        images = [
            np.full((48, 64, 3), value, dtype=np.uint8) for value in (51, 102, 255)
        ]
        prepared = [detector.prepare(image) for image in images]
        assert prepared[0].pixels.shape == (1, 48, 64, 3)
        found = detector.detect(prepared, threshold=0.3)
        first = Box(0.2, 0.1, 0.4, 0.4)
        assert found == [
            SURE,
            (*SURE, Detection("1", first, 0.4)),
            (Detection("1", first, 1.0), *SURE),
        ]

    def test_a_graph_of_something_else(self, tmp_path: Path) -> None:
        path = self.graph(tmp_path / "m.pb", image="pictures")
        with pytest.raises(
            ModelError,
            match=r"not a frozen graph of MegaDetector v2 to v4 .*image_tensor",
        ):
            self.load(path)

    def test_no_graph(self, tmp_path: Path) -> None:
        path = tmp_path / "m.pb"
        path.write_bytes(b"nonsense")
        with pytest.raises(ModelError, match="not a frozen graph of MegaDetector"):
            self.load(path)

    def test_what_detectors_are_made_of_needs_no_trust(self, tmp_path: Path) -> None:
        """Tries the operations of a two-stage detector, written as TensorFlow 1 does."""
        import tensorflow as package  # noqa: ICN001, PLC0415 - an extra

        tf = package.compat.v1
        tf.disable_control_flow_v2()
        with tf.Graph().as_default() as graph:
            pixels = tf.placeholder(tf.uint8, [1, None, None, 3], name="image_tensor")
            image = tf.map_fn(
                lambda one: tf.image.resize_images(one, [32, 32]),
                tf.cast(pixels, tf.float32),
            )
            kernels = np.full((3, 3, 3, 4), 0.01, np.float32)
            features = tf.nn.relu6(tf.nn.conv2d(image, kernels, 2, "SAME"))
            features, _, _ = tf.nn.fused_batch_norm(
                features, *np.ones((2, 4), np.float32), *np.ones((2, 4), np.float32),
                is_training=False,
            )  # fmt: skip
            features = tf.nn.max_pool2d(features, 2, 2, "SAME")
            boxes = tf.clip_by_value(tf.constant(BOXES), 0.0, 1.0)
            with tf.control_dependencies([tf.assert_equal(tf.shape(boxes)[1], 4)]):
                kept = tf.image.non_max_suppression(boxes, SCORES, 4, 0.6, 0.1)
            crops = tf.image.crop_and_resize(
                features, tf.gather(boxes, kept), tf.zeros_like(kept), [2, 2]
            )
            sure = tf.nn.softmax(tf.reduce_mean(crops, [1, 2]))[:, 0]
            _, order = tf.nn.top_k(sure, k=tf.minimum(tf.size(sure), 3))
            order = tf.pad(order, [[0, 3 - tf.size(order)]])
            tf.identity(tf.gather(boxes, order)[tf.newaxis], name="detection_boxes")
            tf.identity(tf.gather(sure, order * 0)[tf.newaxis], name="detection_scores")
            classes = tf.cast(tf.ones_like(order), tf.float32)
            tf.identity(classes[tf.newaxis], name="detection_classes")
        path = tmp_path / "md_v4.1.0.pb"
        path.write_bytes(graph.as_graph_def().SerializeToString())
        detector = self.load(path)
        image_ = detector.prepare(np.full((48, 64, 3), 99, dtype=np.uint8))
        (found,) = detector.detect([image_], threshold=0.1)
        assert {one.category for one in found} == {"1"}
