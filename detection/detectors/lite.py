"""MegadetectorLite: converted to ONNX once, then run as any ONNX file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from classification.runtime.errors import ModelError
from classification.runtime.registry import cache_folder
from detection.detectors import onnx

if TYPE_CHECKING:
    from detection.detectors import Options
    from detection.detectors.network import NetworkDetector
    from detection.models import ModelFile


def load(model: ModelFile, options: Options) -> NetworkDetector:
    """Loads a YOLOX-tiny checkpoint through its ONNX form; see ``converted``."""
    return onnx.load(converted(model), options)


def converted(model: ModelFile) -> ModelFile:
    """Return the ONNX form of a YOLOX-tiny checkpoint, made where it is missing.

    The ONNX file goes into the user's cache folder. If the checkpoint lies there, too,
    it is removed: the ONNX file does all it can do, in half the space.

    Raises:
        ModelError: it is damaged, or no YOLOX-tiny checkpoint.
    """
    if model.known is None:
        raise ModelError(
            f"{model.path}: no YOLOX checkpoint but MegadetectorLite's is read; export yours to ONNX"
        )
    # Imported here: a converted model is run without torch.
    from detection.detectors import yolox  # noqa: PLC0415

    folder = cache_folder()
    target = folder / model.known.converted_file
    if not target.is_file():
        yolox.convert(
            model.path,
            target,
            categories=model.known.categories,
            image_size_px=model.known.image_size_px,
        )
    if folder.resolve() in model.path.resolve().parents:
        model.path.unlink(missing_ok=True)
    return replace(model, path=target)
