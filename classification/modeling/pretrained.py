"""What a network knows before it learns the labels of a dataset.

Random weights, those learned on ImageNet, or those of a checkpoint. Where the last layer
of the weights was made for other labels, it is new and the rest, the body, is loaded.

An EfficientNet's padding follows its weights: new ones and ImageNet's use ``tf``, a
checkpoint what it says (see ``checkpoints``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file

from classification.modeling import catalog, checkpoints, imagenet_weights, networks
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from classification.modeling.catalog import Architecture, Padding
    from classification.modeling.checkpoints import Checkpoint
    from classification.modeling.networks import StateDict

IMAGENET: Literal["imagenet"] = "imagenet"
_IMAGENET_CATEGORIES = 1000
# torchvision's DenseNets were saved under the names of an old torch.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network that is ready to learn.

    Attributes:
        network: in evaluation mode.
        padding: of its convolutions.
        head_is_new: the last layer's weights are random.
        said: where the weights come from, in a sentence for the log.
    """

    network: nn.Module
    padding: Padding
    head_is_new: bool
    said: str


def start(
    name: str,
    labels: Sequence[str],
    *,
    pretrained: Path | Literal["imagenet"] | None = None,
    image_size: int | None = None,
    padding: Padding | None = None,
) -> Start:
    """Builds a network and fills it.

    The last layer is random where the weights are ImageNet's, have another number of
    outputs, or say that they were made for other labels. The random numbers are those
    of torch's global generator.

    Args:
        name: of an architecture (see ``catalog.find``).
        labels: of the dataset, in order.
        pretrained: a checkpoint of ours or of the original, a state dict, or TorchScript;
            ``IMAGENET``; None for random weights.
        image_size: side of the input in pixels; the architecture's own by default.
        padding: of an EfficientNet, if not that of its weights.

    Raises:
        ModelError: there is no such architecture, or the weights are of another one,
            damaged, or no plain data.
        StorageError: ImageNet's weights are not there and cannot be fetched.
    """
    architecture = catalog.find(name)
    saved = checkpoints.read(pretrained) if isinstance(pretrained, Path) else None
    chosen = padding or (saved.padding if saved else None) or "tf"
    network = networks.build(name, len(labels), image_size=image_size, padding=chosen)
    if isinstance(pretrained, Path) and saved is not None:
        head_is_new, said = _fill_from(network, pretrained, saved, labels)
    elif pretrained == IMAGENET:
        file = imagenet_weights.fetched(imagenet_weights.source(architecture))
        size = image_size or architecture.image_size
        _fill_with_imagenet(architecture, network, file, size)
        head_is_new = True
        said = f"ImageNet weights ({file.name}); {_new_head(labels)}"
    else:
        head_is_new, said = True, "random weights"
    if head_is_new and pretrained is not None:
        networks.renew_head(network)
    return Start(network=network, padding=chosen, head_is_new=head_is_new, said=said)


def _new_head(labels: Sequence[str]) -> str:
    return f"the last layer is new, for {len(labels)} labels"


def _fill_from(
    network: nn.Module, path: Path, saved: Checkpoint, labels: Sequence[str]
) -> tuple[bool, str]:
    """Returns whether the last layer is new, and what is said."""
    outputs = networks.outputs_of(network, saved.model)
    other = saved.labels is not None and saved.labels != tuple(labels)
    try:
        if outputs == len(labels) and not other:
            networks.load_weights(network, saved.model)
            return False, f"all weights of {path}"
        networks.load_body(network, saved.model)
    except ModelError as error:
        raise saved.refusal(path, error) from error
    has = "other labels" if outputs == len(labels) else f"{outputs} labels"
    if outputs is None:
        has = "no last layer"
    return True, f"{path} has {has}: its body is loaded; {_new_head(labels)}"


def _fill_with_imagenet(
    architecture: Architecture, network: nn.Module, file: Path, size: int
) -> None:
    try:
        state = _read_any(file)
        if architecture.family == "timm":
            state = networks.of_timm(architecture, 0, size, state).state_dict()
        elif architecture.family == "efficientnet-lite":
            whole = networks.build(architecture.name, _IMAGENET_CATEGORIES)
            state = networks.rename_in_order(whole, state)
        elif architecture.family == "torchvision":
            state = _as_torchvision_names_it(state)
        networks.load_body(network, state)
    except ModelError as error:
        raise ModelError(f"ImageNet weights of {architecture.name}: {error}") from error


def _read_any(file: Path) -> StateDict:
    if file.suffix != ".safetensors":
        return networks.read_state_dict(file)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file}: damaged, or no file of weights") from error


def _as_torchvision_names_it(state: StateDict) -> StateDict:
    """Leaves out the side outputs of Inception networks, and renames DenseNet's."""
    return {
        _OLD_DENSENET.sub(r"\1\2", name): tensor
        for name, tensor in state.items()
        if not name.startswith(("AuxLogits.", "aux1.", "aux2."))
    }
