"""Opens whatever model a person names: an exported one, a TorchScript file, a name.

torch is imported only where a model needs it; an ONNX model does not.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from classification.model_files import torch_files
from classification.modeling import embedded, manifest, torchscript
from classification.modeling.preprocessing import Preprocessing
from classification.runtime import cli, onnx_files
from classification.runtime.errors import ConfigurationError, ModelError
from classification.runtime.model_digest import digest_of

if TYPE_CHECKING:
    from classification.modeling.inference import Classifier, Resources
    from classification.modeling.manifest import Manifest


def resolve(model: str) -> Path:
    """Returns the file behind what the user named, fetching an embedded model once.

    Raises:
        ModelError: there is no such file and no such name.
        StorageError: an embedded model cannot be fetched.
    """
    if model in embedded.MODELS:
        return embedded.path(model)
    path = Path(model)
    if not path.is_file():
        raise ModelError(
            f"no such model: {model}; a file, or one of: {', '.join(embedded.MODELS)}"
        )
    return path


def open_classifier(
    path: Path,
    resources: Resources,
    *,
    image_size: int | None = None,
    trust_model: bool = False,
    calibrate: bool = True,
) -> Classifier:
    """Opens a model file.

    Args:
        path: an ONNX file, TorchScript or a state dict with a manifest beside it, or
            TorchScript without one.
        resources: device and threads.
        image_size: side of the input in pixels, which a TorchScript file does not
            tell (224 by default); a manifest does.
        trust_model: load TorchScript with torch, which runs whatever it says.
        calibrate: let its probabilities go through its manifest's calibration, if it
            has one.

    Raises:
        ModelError: the file is refused, damaged, or not what it should be; with its
            name.
        ConfigurationError: ``image_size`` contradicts the manifest, or the device is
            not there.
    """
    beside = manifest.path_beside(path)
    try:
        if beside.is_file():
            described = manifest.read(beside)
            if described.weights.file == path.name:
                _check_size(path, described, image_size)
                return _open_exported(
                    path, described, resources, trust=trust_model, calibrate=calibrate
                )
        return _open_torchscript(path, resources, image_size, trust=trust_model)
    except ModelError as error:
        name = str(path)
        text = str(error)
        raise ModelError(
            text if text.startswith(name) else f"{name}: {text}"
        ) from error


def _check_size(path: Path, described: Manifest, image_size: int | None) -> None:
    if image_size not in {None, described.image_size}:
        raise ConfigurationError(
            f"--image-size {image_size}: {path.name} takes {described.image_size}, as "
            "its manifest says; leave the option out"
        )


def _open_exported(
    path: Path,
    described: Manifest,
    resources: Resources,
    *,
    trust: bool,
    calibrate: bool,
) -> Classifier:
    data = manifest.read_weights(described, path)
    calibration = described.calibration if calibrate else None
    if path.suffix == ".onnx":
        from classification.modeling import onnx  # noqa: PLC0415 - imports no torch

        onnx_files.check(path, trust=trust)
        return onnx.OnnxClassifier(
            data,
            described.labels,
            described.preprocessing,
            resources,
            calibration,
            folder=path.parent,
            fingerprint=digest_of(path),
        )
    if not trust and torch_files.is_torchscript(io.BytesIO(data)):
        return torchscript.open_classifier(
            data, described.preprocessing, resources, described.labels, calibration
        )
    from classification.modeling import torch_inference  # noqa: PLC0415 - imports torch

    return torch_inference.from_exported(
        data, described, resources, calibrate=calibrate
    )


def _open_torchscript(
    path: Path, resources: Resources, image_size: int | None, *, trust: bool
) -> Classifier:
    if path.suffix == ".onnx":
        raise ModelError(
            f"its manifest {manifest.path_beside(path).name} is not beside it, and "
            "an ONNX file alone does not tell its labels and normalisation"
        )
    data = path.read_bytes()
    if not torch_files.is_torchscript(io.BytesIO(data)):
        raise ModelError(
            "not TorchScript, and no manifest beside it; a training checkpoint holds "
            "weights without their network; this makes a model of it: "
            f"{_export_line(path)}"
        )
    preprocessing = Preprocessing(image_size=image_size or torchscript.IMAGE_SIZE)
    if not trust:
        return torchscript.open_classifier(data, preprocessing, resources)
    from classification.modeling import torch_inference  # noqa: PLC0415 - imports torch

    return torch_inference.from_torchscript(data, preprocessing, resources)


def _export_line(path: Path) -> str:
    """Returns the command line that makes a model of a checkpoint."""
    words = (str(path), str(path.with_suffix(".onnx")))
    return f"python -m classification.export_model {cli.command_line(words)}"
