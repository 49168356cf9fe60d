"""``ckpt_<epoch>.pt``: a network as it was at its best so far.

Written by ``train_classifier`` whenever the val split says so; the one before is removed
once the new one is whole. Read by ``evaluate_model``, ``export_model`` and, as
``--pretrained``, by ``train_classifier``. A file of torch that holds plain data alone: a
dict with the original's keys ``epoch`` (from 0), ``model`` (the state dict), ``val/acc``
(percent) and ``optimizer``, and ours: ``padding``, ``labels``, ``architecture`` and
``image_size``. A file without ``padding`` is the original's: its networks pad
symmetrically, and so do those of a TorchScript archive, which holds the weights alone. A
state dict alone is of neither, but what others publish: it pads as TensorFlow does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, get_args

import torch

from classification.model_files import torch_files
from classification.modeling import manifest, networks
from classification.modeling.catalog import Padding
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from classification.artifacts.run_params import RunParams
    from classification.modeling.networks import StateDict

_LEAST_SIDE = 8  # pixels


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network at the end of an epoch; None where the file does not say.

    Attributes:
        model: the weights, without the prefixes of parallel training.
        epoch: number of the epoch, from 0.
        val_accuracy: top-1 on the val split in percent, weighted if the run was.
        optimizer: the optimiser's state, as torch keeps it.
        padding: of the network's convolutions; ``symmetric`` for the original's.
        labels: of the outputs, in order.
        architecture: name in the catalog.
        image_size: side of the input in pixels.
        is_torchscript: the weights are those of a TorchScript archive.
    """

    model: StateDict
    epoch: int | None = None
    val_accuracy: float | None = None
    optimizer: dict[str, Any] | None = None
    padding: Padding = "symmetric"
    labels: tuple[str, ...] | None = None
    architecture: str | None = None
    image_size: int | None = None
    is_torchscript: bool = False

    def refusal(self, path: Path, error: ModelError) -> ModelError:
        """Returns an error with the file, and with what it is."""
        if not self.is_torchscript:
            return ModelError(f"{path}: {error}")
        return ModelError(
            f"{path}: a TorchScript archive, {error}; give the checkpoint that it was "
            "made from"
        )


def filename(epoch: int) -> str:
    """Returns the name of the checkpoint of an epoch."""
    return f"ckpt_{epoch}.pt"


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, whole or not at all."""
    labels = checkpoint.labels
    document = {
        "epoch": checkpoint.epoch,
        "model": checkpoint.model,
        "val/acc": checkpoint.val_accuracy,
        "optimizer": checkpoint.optimizer,
        "padding": checkpoint.padding,
        "labels": None if labels is None else list(labels),
        "architecture": checkpoint.architecture,
        "image_size": checkpoint.image_size,
    }
    networks.write_document(path, document)


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint of ours or of the original, or a state dict alone.

    Raises:
        ModelError: it is missing, damaged, holds more than plain data (none of which
            is run), or something in it is not what it should be; with the file.
    """
    if torch_files.is_torchscript(path):
        return _read_torchscript(path)
    document = networks.read_document(path)
    state = networks.state_dict_in(path, document)
    held = document if isinstance(document, dict) and "model" in document else {}
    labels = held.get("labels")
    if labels is not None and not (
        isinstance(labels, list) and all(isinstance(label, str) for label in labels)
    ):
        raise ModelError(f"{path}: labels: a list of names expected")
    padding = held.get("padding", "symmetric" if held else "tf")
    if padding not in get_args(Padding):
        raise ModelError(f"{path}: padding: {' or '.join(get_args(Padding))} expected")
    accuracy = _typed(path, held, "val/acc", int | float)
    return Checkpoint(
        model=state,
        epoch=_typed(path, held, "epoch", int),
        val_accuracy=None if accuracy is None else float(accuracy),
        optimizer=_typed(path, held, "optimizer", dict),
        padding=cast("Padding", padding),
        labels=None if labels is None else tuple(labels),
        architecture=_typed(path, held, "architecture", str),
        image_size=_side(path, _typed(path, held, "image_size", int)),
    )


def _read_torchscript(path: Path) -> Checkpoint:
    """Reads the weights of an archive; of its padding it says nothing.

    It pads as the manifest beside it says, or as the original, which makes such files.
    """
    beside = manifest.path_beside(path)
    described = manifest.read(beside) if beside.is_file() else None
    try:
        weights = torch_files.read_torchscript(path).weights()
    except ModelError as error:
        raise ModelError(f"{path}: damaged TorchScript archive: {error}") from error
    return Checkpoint(
        model={name: torch.from_numpy(array) for name, array in weights.items()},
        padding=described.padding if described else "symmetric",
        is_torchscript=True,
    )


def _typed(path: Path, held: dict[str, Any], key: str, kind: Any) -> Any:  # noqa: ANN401 - a type and a value of it
    value = held.get(key)
    if value is not None and not isinstance(value, kind):
        raise ModelError(f"{path}: {key}: not of the type expected")
    return value


def _side(path: Path, side: int | None) -> int | None:
    if side is not None and side < _LEAST_SIDE:
        raise ModelError(f"{path}: image_size: at least {_LEAST_SIDE} pixels expected")
    return side


def fingerprint(state: Mapping[str, torch.Tensor]) -> str:
    """Returns the SHA-256 of weights: of names, types, shapes and values."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def open_network(
    path: Path, params: RunParams | None = None, *, model_name: str | None = None
) -> nn.Module:
    """Reads a checkpoint and returns its network; see ``network_of``.

    Raises:
        ModelError: it is refused (see ``read``), or has no such network.
    """
    return network_of(path, read(path), params, model_name=model_name)


def network_of(
    path: Path,
    checkpoint: Checkpoint,
    params: RunParams | None = None,
    *,
    model_name: str | None = None,
) -> nn.Module:
    """Returns the network of a checkpoint, in evaluation mode.

    Args:
        path: where the checkpoint was read, for messages.
        checkpoint: what it holds.
        params: of its run; names the architecture and image size of a checkpoint that
            does not, such as the original's.
        model_name: architecture to take in the place of what both say.

    Raises:
        ModelError: nobody names its architecture, or it is of another one.
    """
    name = model_name or checkpoint.architecture or (params and params.model_name)
    if not name:
        raise ModelError(f"{path} does not say its architecture; --model-name does")
    size = checkpoint.image_size or (params.image_size if params else None)

    def build(outputs: int) -> nn.Module:
        return networks.build(
            name, outputs, image_size=size, padding=checkpoint.padding
        )

    try:
        network = build(len(checkpoint.labels or ()) or 1)
        outputs = networks.outputs_of(network, checkpoint.model)
        if outputs is None:
            raise ModelError(f"weights of another network than {name}")  # noqa: TRY301 - named below
        if outputs != len(checkpoint.labels or ()):
            network = build(outputs)
        networks.load_weights(network, checkpoint.model)
    except ModelError as error:
        raise checkpoint.refusal(path, error) from error
    return network.eval()
