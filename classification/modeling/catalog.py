"""The networks that can be built by name, and what input each of them expects.

The catalog says what exists, ``networks`` builds it. Its own networks need no torch; for
``torchvision/NAME`` and ``timm/NAME`` these libraries are asked.
"""

from __future__ import annotations

import difflib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Family = Literal["efficientnet", "efficientnet-lite", "resnet", "torchvision", "timm"]

Padding = Literal["tf", "symmetric"]
"""How an EfficientNet pads before a convolution of kernel k.

``tf``: TensorFlow's SAME, which puts an odd pixel right and below; the weights trained
on ImageNet expect it. ``symmetric``: (k - 1) / 2 on every side, which is how the
original pipeline trained its classifiers. Same weights, other results.
"""


@dataclass(frozen=True, kw_only=True)
class Normalisation:
    """Turns a pixel value of 0 to 255 into what a network expects.

    The result is ``(value / divisor - mean) / std``, channel by channel, R, G, B.

    Attributes:
        divisor: 255 where mean and std are fractions, 1 where they are pixel values.
        mean: of each channel.
        std: of each channel; above 0.
    """

    divisor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# Mean and standard deviation of ImageNet's training images.
IMAGENET = Normalisation(
    divisor=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
SIGNED = Normalisation(
    divisor=1.0, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network by name.

    Attributes:
        name: as in ``--model-name`` and in manifests; with the library before it,
            such as ``timm/mobilenetv3_small_100``, where it is not one of ours.
        family: which builder makes it.
        image_size: side of the square input it was designed for, in pixels.
        normalisation: what its ImageNet weights expect.
    """

    name: str
    family: Family
    image_size: int
    normalisation: Normalisation


# Sides from the EfficientNet paper (Tan and Le 2019, table of scaled networks), and
# from TensorFlow's efficientnet-lite release notes.
_EFFICIENTNET_SIZES = {
    "efficientnet-b0": 224,
    "efficientnet-b1": 240,
    "efficientnet-b2": 260,
    "efficientnet-b3": 300,
    "efficientnet-b4": 380,
    "efficientnet-b5": 456,
    "efficientnet-b6": 528,
    "efficientnet-b7": 600,
    "efficientnet-b8": 672,
    "efficientnet-l2": 800,
}
_LITE_SIZES = {
    "efficientnet-lite0": 224,
    "efficientnet-lite1": 240,
    "efficientnet-lite2": 260,
}
_RESNET_SIZES = {f"resnet{layers}": 224 for layers in (18, 34, 50, 101, 152)}


def _family(
    family: Family, sizes: Mapping[str, int], normalisation: Normalisation
) -> dict[str, Architecture]:
    return {
        name: Architecture(
            name=name, family=family, image_size=size, normalisation=normalisation
        )
        for name, size in sizes.items()
    }


ARCHITECTURES: Mapping[str, Architecture] = {
    **_family("efficientnet", _EFFICIENTNET_SIZES, IMAGENET),
    **_family("efficientnet-lite", _LITE_SIZES, SIGNED),
    **_family("resnet", _RESNET_SIZES, IMAGENET),
}


def find(name: str) -> Architecture:
    """Returns the architecture of that name.

    Args:
        name: of ``ARCHITECTURES``, ``torchvision/NAME`` or ``timm/NAME``; the last two
            import these libraries.

    Raises:
        ModelError: there is none; lists those there are, or the nearest.
    """
    library, slash, inner = name.partition("/")
    if slash and library == "torchvision":
        return _of_torchvision(inner)
    if slash and library == "timm":
        return _of_timm(inner)
    if name not in ARCHITECTURES:
        raise ModelError(
            f"no architecture {name!r}; there are {', '.join(ARCHITECTURES)}, "
            "torchvision/NAME and timm/NAME"
        )
    return ARCHITECTURES[name]


def library_name(architecture: Architecture) -> str:
    """Returns the name by which the library knows the network."""
    if architecture.family == "efficientnet-lite":
        return "tf_" + architecture.name.replace("-", "_")
    return architecture.name.partition("/")[2] or architecture.name


def _of_torchvision(name: str) -> Architecture:
    from torchvision import models  # noqa: PLC0415 - seconds, and few need it

    names = models.list_models(module=models)
    if name not in names:
        _refuse("torchvision", name, names)
    weights = models.get_model_weights(name)
    size, scale = 224, IMAGENET
    if len(weights):
        seen = weights.DEFAULT.transforms()
        size = seen.crop_size[0]
        scale = _fractions(seen.mean, seen.std)
    return Architecture(
        name=f"torchvision/{name}",
        family="torchvision",
        image_size=size,
        normalisation=scale,
    )


def _of_timm(name: str) -> Architecture:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of timm's own use of torch, at import
        import timm  # noqa: PLC0415 - seconds, and few need it

    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # the network is there, but not with this tag
        config = None
    if config is None:
        _refuse("timm", name, timm.list_models(pretrained=True) + timm.list_models())
    _, height, _ = config.input_size
    return Architecture(
        name=f"timm/{name}",
        family="timm",
        image_size=height,
        normalisation=_fractions(config.mean, config.std),
    )


def _fractions(mean: Sequence[float], std: Sequence[float]) -> Normalisation:
    r, g, b = mean
    sr, sg, sb = std
    return Normalisation(divisor=255.0, mean=(r, g, b), std=(sr, sg, sb))


def _refuse(library: str, name: str, names: Sequence[str]) -> NoReturn:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    hint = f"; near: {', '.join(f'{library}/{n}' for n in near)}" if near else ""
    raise ModelError(f"{library} has no network {name!r}{hint}")
