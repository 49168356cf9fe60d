"""Runs the frozen graphs of MegaDetector v2 to v4 through TensorFlow.

Such a graph resizes the image itself. It takes ``image_tensor:0``, uint8 [1, height,
width, 3], and gives ``detection_boxes:0`` ([top, left, bottom, right] in fractions),
``detection_scores:0`` and ``detection_classes:0``, whose numbers are the category ids.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from classification.runtime.errors import MissingExtraError, ModelError
from classification.runtime.parallel import cores
from detection.detectors import Prepared, frozen_graph
from detection.detectors.letterbox import rounded_box
from detection.records import MEGADETECTOR_CATEGORIES, Detection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from detection.detectors import Options
    from detection.models import ModelFile

_INPUT = "image_tensor:0"
_OUTPUTS = ("detection_boxes:0", "detection_scores:0", "detection_classes:0")

Run: TypeAlias = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], ...]]
"""One image [1, height, width, 3] to boxes, scores and classes of that image."""


@dataclass(frozen=True, kw_only=True)
class FrozenGraphDetector:
    """A frozen graph; images go through it one by one, as it was made for.

    Attributes:
        run: calls the graph.
        categories: name by category id.
    """

    run: Run
    categories: Mapping[str, str]

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """Leaves the image as it is; see ``Detector.prepare``."""
        return Prepared(
            pixels=image[np.newaxis],
            width_px=image.shape[1],
            height_px=image.shape[0],
        )

    def detect(
        self, batch: Sequence[Prepared], *, threshold: float
    ) -> list[tuple[Detection, ...]]:
        """Finds the boxes of each image; see ``Detector.detect``."""
        return [
            to_detections(*self.run(image.pixels), threshold=threshold)
            for image in batch
        ]


def to_detections(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.float32],
    *,
    threshold: float,
) -> tuple[Detection, ...]:
    """Turns a graph's outputs for one image into detections, surest first.

    Args:
        boxes: top, left, bottom, right in fractions, [boxes, 4].
        scores: confidence in [0, 1], [boxes].
        classes: category ids as numbers, [boxes].
        threshold: boxes below this confidence are left out.
    """
    order = np.argsort(-scores, kind="stable")
    found = (
        Detection(
            category=str(int(classes[at])),
            bbox=rounded_box(*(float(boxes[at][side]) for side in (1, 0, 3, 2))),
            conf=round(float(scores[at]), 3),
        )
        for at in order
        if scores[at] >= threshold
    )
    return tuple(one for one in found if one.bbox.width > 0 and one.bbox.height > 0)


def load(model: ModelFile, options: Options) -> FrozenGraphDetector:
    """Loads a frozen graph.

    Raises:
        MissingExtraError: TensorFlow is not installed.
        ModelError: the file is damaged, a graph with other tensors, or one with
            operations of other programs that is not trusted.
    """
    frozen_graph.check(model.path, trust=options.trust_model)
    try:
        import tensorflow  # noqa: ICN001, PLC0415 - an extra, named in full
    except ImportError as error:
        raise MissingExtraError(
            f"{model.path}: a TensorFlow graph (licence of TensorFlow: Apache-2.0)",
            extra="tensorflow",
        ) from error
    known = model.known.categories if model.known else MEGADETECTOR_CATEGORIES
    return FrozenGraphDetector(
        run=_session(tensorflow.compat.v1, model.path, options), categories=known
    )


def _session(tf: Any, path: Path, options: Options) -> Run:  # noqa: ANN401 - the package may be absent, so has no types
    definition = tf.GraphDef()
    try:
        definition.ParseFromString(path.read_bytes())
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(definition, name="")
        for name in (_INPUT, *_OUTPUTS):
            graph.get_tensor_by_name(name)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # protobuf and TensorFlow share no base class
        raise ModelError(
            f"{path}: not a frozen graph of MegaDetector v2 to v4 ({_first_line(error)})"
        ) from error
    threads = options.threads or cores()
    session = tf.Session(
        graph=graph,
        config=tf.ConfigProto(
            intra_op_parallelism_threads=threads,
            inter_op_parallelism_threads=1,
            device_count={"GPU": 0} if options.device == "cpu" else {},
        ),
    )

    def run(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        found = session.run(list(_OUTPUTS), feed_dict={_INPUT: image})
        return tuple(np.asarray(part[0], dtype=np.float32) for part in found)

    return run


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
