"""Detector engines: one module per model format, behind one protocol.

``load`` picks the engine by the file. A detector does two things: ``prepare``, which may
run in many threads beside each other, and ``detect``, which runs in one::

    model = models.resolve("default")
    detector = detectors.load(model)
    prepared = detector.prepare(opened.array())
    (boxes,) = detector.detect([prepared], threshold=0.2)

What ``detect`` says of an image does not depend on the images beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from detection.detectors.torch_engine import Checkpoint
    from detection.models import ModelFile
    from detection.records import Detection


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to run a detector.

    Attributes:
        trust_model: unpickle a checkpoint, which runs whatever code is in it.
        device: ``auto``, ``cpu`` or ``cuda:N``.
        threads: processor threads of the network; all cores by default.
        image_size_px: longer side of the network's input, for models that take any
            size; the model's own by default.
        head: name of the output layout (see ``heads.Head``), for an ONNX file whose
            layout cannot be told from its shape and metadata.
    """

    trust_model: bool = False
    device: str = "auto"
    threads: int | None = None
    image_size_px: int | None = None
    head: str | None = None


DEFAULT_OPTIONS = Options()


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """An image as the network takes it.

    Attributes:
        pixels: the network's input for one image; shape and dtype are the engine's.
        width_px: width of the upright image it was made from.
        height_px: height of it.
    """

    pixels: NDArray[Any]
    width_px: int
    height_px: int


class Detector(Protocol):
    """A loaded model."""

    @property
    def categories(self) -> Mapping[str, str]:
        """Returns the name by category id, such as ``{"1": "animal"}``."""
        ...

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """Makes the network's input of an upright RGB image [height, width, 3]."""
        ...

    def detect(
        self, batch: Sequence[Prepared], *, threshold: float
    ) -> list[tuple[Detection, ...]]:
        """Finds the boxes of each image with a confidence of at least ``threshold``.

        Returns:
            One tuple for each image of ``batch``, in its order: detections by falling
            confidence, boxes clipped to the image; conf rounded to 3 decimals and
            bbox to 4, as MegaDetector writes them.
        """
        ...


def load(model: ModelFile, options: Options = DEFAULT_OPTIONS) -> Detector:
    """Loads a detector with the engine that reads its file.

    Raises:
        ModelError: the file is damaged, of a kind that no engine reads, or a pickle
            that is not trusted.
        MissingExtraError: the engine's package is not installed.
    """
    match model.path.suffix.lower():
        case ".onnx":
            from detection.detectors import onnx  # noqa: PLC0415 - each engine is heavy

            return onnx.load(model, options)
        case ".pb":
            from detection.detectors import tensorflow  # noqa: PLC0415 - likewise

            return tensorflow.load(model, options)
        case ".pt" | ".pth":
            return _load_checkpoint(model, options)
        case suffix:
            raise ModelError(
                f"{model.path}: no engine reads {suffix or 'a file without an ending'}; "
                "there are .onnx, .pt, .pth and .pb"
            )


def runnable(model: ModelFile) -> ModelFile:
    """Return a model with the file that is run for it, made where it is missing.

    It is another one than that of ``models.resolve`` for MegadetectorLite's checkpoint.

    Raises:
        ModelError: as for ``load``.
    """
    if model.path.suffix.lower() not in {".pt", ".pth"} or model.known is None:
        return model
    from detection.detectors.checkpoint import Kind, kind_of  # noqa: PLC0415 - see load

    if kind_of(model.path) is not Kind.TENSORS:
        return model
    from detection.detectors import lite  # noqa: PLC0415 - likewise

    return lite.converted(model)


def convert(model: ModelFile, target: Path, options: Options) -> None:
    """Writes a YOLOv5 or ultralytics checkpoint as an ONNX file.

    The file runs without the package that read the checkpoint, and without trust. In
    the user's cache folder, under the name of the model with ``.onnx``, it is taken
    whenever the model is asked for by name.

    Raises:
        ModelError: as for ``load``, or the file is no such checkpoint.
        MissingExtraError: as for ``load``.
    """
    from detection.detectors import torch_engine  # noqa: PLC0415 - see load

    torch_engine.export(_unpickle(model, options), model, options, target)


def _load_checkpoint(model: ModelFile, options: Options) -> Detector:
    from detection.detectors.checkpoint import Kind, kind_of  # noqa: PLC0415 - see load

    if kind_of(model.path) is Kind.TENSORS:
        from detection.detectors import lite  # noqa: PLC0415 - likewise

        return lite.load(model, options)
    from detection.detectors import torch_engine  # noqa: PLC0415 - likewise

    return torch_engine.build(_unpickle(model, options), model, options)


def _unpickle(model: ModelFile, options: Options) -> Checkpoint:
    from detection.detectors.checkpoint import Kind, kind_of  # noqa: PLC0415 - see load

    kind = kind_of(model.path)
    if kind not in {Kind.YOLOV5, Kind.ULTRALYTICS}:
        raise ModelError(
            f"{model.path}: {kind.value}, which no engine reads; export it to ONNX"
        )
    if not options.trust_model:
        raise ModelError(
            f"{model.path}: {kind.value}, a pickle: loading it runs whatever code is in "
            "it. If you know where it comes from, give --trust-model; or export it to ONNX"
        )
    if kind is Kind.YOLOV5:
        from detection.detectors import yolov5  # noqa: PLC0415 - likewise

        return yolov5.read(model.path)
    from detection.detectors import ultralytics  # noqa: PLC0415 - likewise

    return ultralytics.read(model.path)
