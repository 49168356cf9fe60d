"""Builds a network by name, and fills it with weights that are data, not code."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import torch
from torch import nn

from classification.model_files import torch_files
from classification.model_files.pickles import DamagedFileError, NotDataError
from classification.modeling import catalog
from classification.runtime.atomic import replacing
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from classification.modeling.catalog import Architecture, Padding

StateDict = dict[str, torch.Tensor]

# Where checkpoints keep their weights: ours and the original's, then others'.
_STATE_KEYS = ("model", "state_dict", "model_state_dict")
_COUNTER = "num_batches_tracked"


def build(
    name: str,
    categories: int,
    *,
    image_size: int | None = None,
    padding: Padding = "tf",
) -> nn.Module:
    """Builds a network with random weights, in evaluation mode.

    Args:
        name: of an architecture of the catalog, ``torchvision/NAME`` or ``timm/NAME``.
        categories: number of outputs (logits).
        image_size: side of the input in pixels; the architecture's own by default.
            An EfficientNet fixes its padding for this size, a transformer its grid.
        padding: of an EfficientNet (see ``catalog.Padding``); others have their own.

    Returns:
        A module that takes [N, 3, S, S] float32, normalised, and gives [N, categories],
        in training mode too.

    Raises:
        ModelError: there is no such architecture, or not for this size.
    """
    architecture = catalog.find(name)
    size = image_size or architecture.image_size
    if architecture.family == "efficientnet":
        network = _efficientnet(architecture, categories, size, padding)
    elif architecture.family in {"timm", "efficientnet-lite"}:
        network = of_timm(architecture, categories, size)
    else:
        network = _of_torchvision(architecture, categories, size)
    return network.eval()


def _efficientnet(
    architecture: Architecture, categories: int, size: int, padding: Padding
) -> nn.Module:
    from efficientnet_pytorch import EfficientNet  # noqa: PLC0415 - only this family

    network = EfficientNet.from_name(
        architecture.name, num_classes=categories, image_size=size
    )
    # The memory-saving activation is a Python function, which no exporter can follow.
    network.set_swish(memory_efficient=False)
    if padding == "symmetric":
        _pad_symmetrically(network)
    return cast("nn.Module", network)


def _pad_symmetrically(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and hasattr(module, "static_padding"):
            module.static_padding = nn.ZeroPad2d((module.kernel_size[0] - 1) // 2)


def of_timm(
    architecture: Architecture,
    categories: int,
    size: int,
    state: StateDict | None = None,
) -> nn.Module:
    """Builds a network of timm, with random weights or with its authors' weights.

    Args:
        architecture: of the family ``timm`` or ``efficientnet-lite``.
        categories: number of outputs; 0 for none, that is, for the features.
        size: side of the input in pixels.
        state: weights under their authors' names, which timm knows; position
            embeddings are resized, and the last layer is left out unless it fits.

    Raises:
        ModelError: the network cannot have this size, or these weights.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of timm's own use of torch, at import
        import timm  # noqa: PLC0415 - only these families; its import takes a second

    options: dict[str, Any] = {"num_classes": categories}
    if size != architecture.image_size and _is_fixed_size(architecture):
        options["img_size"] = size
    if state is not None:
        options["pretrained"] = True
        options["pretrained_cfg_overlay"] = {"state_dict": state, "custom_load": False}
    with _refusing(architecture, size):
        network: nn.Module = timm.create_model(
            catalog.library_name(architecture), **options
        )
    return network


def _is_fixed_size(architecture: Architecture) -> bool:
    import timm  # noqa: PLC0415 - as above

    config = timm.get_pretrained_cfg(catalog.library_name(architecture))
    return bool(config is not None and config.fixed_input_size)


# How the networks that are made for one size are told another one.
_SIZE_OPTIONS = {"vit_": "image_size", "maxvit_": "input_size"}
# These give more than logits while they learn, unless told not to. Their ImageNet
# weights expect another normalisation, which they can do themselves.
_INCEPTION_OPTIONS = {
    name: {"aux_logits": False, "init_weights": True, "transform_input": True}
    for name in ("googlenet", "inception_v3")
}


def _of_torchvision(
    architecture: Architecture, categories: int, size: int
) -> nn.Module:
    from torchvision import models  # noqa: PLC0415 - only these families

    name = catalog.library_name(architecture)
    options: dict[str, object] = dict(_INCEPTION_OPTIONS.get(name, {}))
    for prefix, option in _SIZE_OPTIONS.items():
        if name.startswith(prefix):
            options[option] = size if option == "image_size" else (size, size)
    with _refusing(architecture, size):
        network = models.get_model(
            name, weights=None, num_classes=categories, **options
        )
    return cast("nn.Module", network)


@contextmanager
def _refusing(architecture: Architecture, size: int) -> Iterator[None]:
    """Turns what a library says against a size into a ModelError."""
    try:
        yield
    except (AssertionError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{architecture.name} cannot be built for {size} px: {reason[:300]}"
        ) from error


def freeze_batch_norm(network: nn.Module) -> None:
    """Lets batch normalisation use and keep its running means, until ``train`` is called.

    A few crops have other means than the many that a network was trained on, and blur what
    it knows.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - of all dimensions
            module.eval()


def renew_head(network: nn.Module) -> None:
    """Fills the last layer with the small random numbers of torch's own linear layers.

    Some architectures begin with ten times larger ones, which suit a network that is
    random all over; behind features that are good already they are noise that a short
    training does not unlearn.
    """
    for name in head_names(network):
        cast("nn.Linear", network.get_submodule(name)).reset_parameters()


def head_names(network: nn.Module) -> tuple[str, ...]:
    """Returns the name of the last layer, whose outputs are the logits.

    It is a linear layer, or a convolution in networks that have none behind their
    features; its parameters are ``<name>.weight`` and ``<name>.bias``. A few networks
    of timm average the logits of two such layers, and have two names.

    Raises:
        ModelError: the network has no such layer.
    """
    config = getattr(network, "pretrained_cfg", None) or {}
    stated = config.get("classifier") or ()
    names = (stated,) if isinstance(stated, str) else tuple(stated)
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    if names and set(names) <= set(layers):
        return names
    if not layers:
        raise ModelError("the network has no layer that could give its logits")
    return (layers[-1],)


def read_document(source: Path | BinaryIO) -> object:
    """Reads a file of torch, refusing anything that is not plain data.

    Raises:
        ModelError: the file is missing, damaged, or holds Python objects; with its
            name.
    """
    path = _shown(source)
    try:
        return torch_files.read(source, torch.from_numpy)
    except NotDataError as error:
        raise ModelError(
            f"{path}: not a file of weights alone: it holds {error}; nothing of it was run"
        ) from error
    except DamagedFileError as error:
        raise ModelError(f"{path}: damaged, or no file of weights: {error}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def write_document(path: Path, document: object) -> None:
    """Writes a file of torch, whole or not at all.

    Raises:
        StorageError: the folder cannot be written, or the disk is full.
    """
    with replacing(path) as file:
        try:
            torch.save(document, file)
        except RuntimeError as error:
            # Torch closes its archive, which fails once more, in words of its own.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def _shown(source: Path | BinaryIO) -> Path | str:
    return source if isinstance(source, Path) else "weights"


def read_state_dict(source: Path | BinaryIO) -> StateDict:
    """Reads the weights of a checkpoint, refusing anything that is not plain data.

    Raises:
        ModelError: as for ``read_document`` and ``state_dict_in``.
    """
    return state_dict_in(_shown(source), read_document(source))


def state_dict_in(path: Path | str, document: object) -> StateDict:
    """Returns the weights that a document holds.

    A checkpoint may be the state dict itself or hold it as ``model``, ``state_dict``
    or ``model_state_dict``; the prefix of torch's DataParallel is taken off.

    Args:
        path: of the document, for messages.
        document: see ``read_document``.

    Raises:
        ModelError: it holds no weights.
    """
    if isinstance(document, dict):
        for key in _STATE_KEYS:
            if isinstance(document.get(key), dict):
                document = document[key]
                break
    if not isinstance(document, dict) or not document:
        raise ModelError(f"{path}: holds no weights")
    if not all(isinstance(value, torch.Tensor) for value in document.values()):
        raise ModelError(f"{path}: holds more than named tensors, so no state dict")
    return {str(key).removeprefix("module."): v for key, v in document.items()}


def load_weights(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Fills the network; every tensor must have its place, and every place its tensor.

    Raises:
        ModelError: names or shapes differ; says how many, and the first.
    """
    places = network.state_dict()
    faults = [f"{name} is missing" for name in places if not _optional(name, state)]
    faults += [f"{name} has no place" for name in state if name not in places]
    faults += [
        f"{name} has the shape {_shape(tensor)}, {_shape(places[name])} is needed"
        for name, tensor in state.items()
        if name in places and tensor.shape != places[name].shape
    ]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise ModelError(f"weights of another network: {faults[0]}{more}")
    # Beside its tensors a state dict knows the version of its modules, without which a
    # few networks refuse it.
    versions = getattr(places, "_metadata", None)
    places.update(state)
    places._metadata = versions  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
    network.load_state_dict(places)


def load_body(network: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Fills all but the last layer, whose weights stay as they are.

    Raises:
        ModelError: the weights are of another network.
    """
    heads = tuple(f"{name}." for name in head_names(network))
    own = {k: v for k, v in network.state_dict().items() if k.startswith(heads)}
    body = {k: v for k, v in state.items() if not k.startswith(heads)}
    load_weights(network, {**body, **own})


def outputs_of(network: nn.Module, state: Mapping[str, torch.Tensor]) -> int | None:
    """Returns the number of outputs that weights were made for; None: no last layer.

    Args:
        network: of the same architecture, with any number of outputs.
        state: the weights.
    """
    weight = state.get(f"{head_names(network)[0]}.weight")
    return None if weight is None else len(weight)


def _optional(name: str, state: Mapping[str, torch.Tensor]) -> bool:
    return name in state or name.endswith(_COUNTER)


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))


def rename_in_order(network: nn.Module, state: Mapping[str, torch.Tensor]) -> StateDict:
    """Gives foreign weights the names of ``network``, one after the other.

    For weights of the same architecture whose tensors come in the same order under
    other names, such as TensorFlow conversions; shapes are compared one by one.

    Raises:
        ModelError: the numbers of tensors or a shape differ.
    """
    names = [name for name in network.state_dict() if not name.endswith(_COUNTER)]
    given = {k: v for k, v in state.items() if not k.endswith(_COUNTER)}
    if len(names) != len(given):
        raise ModelError(
            f"weights of another network: {len(given)} tensors, {len(names)} are needed"
        )
    renamed = dict(zip(names, given.values(), strict=True))
    load_weights(network, renamed)
    return renamed
