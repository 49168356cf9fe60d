"""MegadetectorLite: converted to ONNX once, then run as any ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.runtime.errors import ModelError
from detection import models
from detection.detectors import onnx

if TYPE_CHECKING:
    from pathlib import Path

    from detection.detectors import Options
    from detection.detectors.network import NetworkDetector
    from detection.models import ModelFile


def load(
    model: ModelFile, options: Options, *, folder: Path | None = None
) -> NetworkDetector:
    """Loads a YOLOX-tiny checkpoint through its ONNX form, made where it is missing.

    A checkpoint of the table is converted into the cache folder, and the checkpoint is
    removed from there: half of it is of no use for inference. One of the user's own is
    converted beside itself.

    Args:
        model: the checkpoint.
        options: how to run it.
        folder: the cache folder; ``models.cache_folder()`` by default.

    Raises:
        ModelError: it is damaged, or no YOLOX-tiny checkpoint.
    """
    if model.known is None:
        raise ModelError(
            f"{model.path}: no YOLOX checkpoint but MegadetectorLite's is read; export yours to ONNX"
        )
    # Imported here: a converted model is run without torch.
    from detection.detectors import yolox  # noqa: PLC0415

    folder = folder or models.cache_folder()
    target = folder / model.known.converted_file
    if not target.is_file():
        yolox.convert(
            model.path,
            target,
            categories=model.known.categories,
            image_size_px=model.known.image_size_px,
        )
    if model.path.resolve().parent == folder.resolve():
        model.path.unlink(missing_ok=True)
    return onnx.load(
        models.ModelFile(
            path=target, name=model.name, version=model.version, known=model.known
        ),
        options,
    )
