"""Opens what a training run left, or what was made of it, to be measured.

That is a checkpoint, a TorchScript file, or an exported model beside its manifest. Of a
checkpoint a TorchScript file is kept beside it, for the original's programs and
``run_classifier``: ``ckpt_14_compiled.pt``. Its manifest names the checkpoint by its
SHA-256, so that a file of an older checkpoint is written anew. torch is imported only
where a model needs it.

Whoever measures a network on a processor does so by ONNX Runtime, as ``run_classifier`` runs
its export: an image takes 0.4 to 0.7 times as long as by torch.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.model_files import torch_files
from classification.modeling import catalog, loading, manifest, provenance, torchscript
from classification.modeling.preprocessing import Preprocessing
from classification.modeling.provenance import CHECKPOINT_SHA256
from classification.runtime import registry
from classification.runtime.cli import one_line
from classification.runtime.errors import ConfigurationError, ModelError, PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from classification.artifacts.run_params import RunParams
    from classification.modeling.checkpoints import Checkpoint
    from classification.modeling.export import ModelFacts
    from classification.modeling.inference import Classifier, Resources

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model file, and what is said of it.

    Attributes:
        path: a checkpoint, TorchScript, an exported model, or the name of one of ours.
        params: of the run.
        model_name: architecture, in the place of what the run says; or None.
        names: names of the outputs, in the place of what the file says; or None.
        labels: gives the names of the outputs where the file does not know them.
        trust: load TorchScript with torch, which runs whatever it says.
        calibrate: let an exported model's calibration act on its probabilities.
    """

    path: Path
    params: RunParams
    labels: Callable[[], tuple[str, ...]]
    model_name: str | None = None
    names: tuple[str, ...] | None = None
    trust: bool = False
    calibrate: bool = True

    @property
    def architecture(self) -> str:
        """Returns the name of the architecture, where the file does not say it."""
        return self.model_name or self.params.model_name

    @property
    def preprocessing(self) -> Preprocessing:
        """Returns what the input goes through, where the file does not say it."""
        architecture = catalog.find(self.architecture)
        said = None if self.model_name else self.params.image_size
        return Preprocessing(
            image_size=said or architecture.image_size,
            normalisation=architecture.normalisation,
        )


def open_subject(subject: Subject, resources: Resources) -> Classifier:
    """Opens a model to be measured.

    Raises:
        ModelError: the file is missing, damaged or refused; with its name.
        ConfigurationError: it has another number of outputs than there are names, or
            the device is not there.
    """
    path = loading.resolve(str(subject.path))
    if path.suffix == ".onnx" or _is_exported(path):
        classifier = loading.open_classifier(
            path, resources, trust_model=subject.trust, calibrate=subject.calibrate
        )
        return _named(subject, classifier, classifier.categories)
    if torch_files.is_torchscript(path):
        return _open_torchscript(subject, path, resources)
    return _open_checkpoint(subject, path, resources)


def of_network(
    network: nn.Module,
    preprocessing: Preprocessing,
    resources: Resources,
    fingerprint: str,
    categories: tuple[str, ...] | None = None,
) -> Classifier:
    """Makes a network ready to run, in the way that is fastest where it runs.

    Args:
        network: takes [N, 3, S, S] float32, gives logits [N, C].
        preprocessing: what the input goes through.
        resources: device and threads.
        fingerprint: SHA-256 of the weights file.
        categories: names of the outputs; ``0``, ``1``, … by default.

    Raises:
        ModelError: see ``TorchClassifier``.
        ConfigurationError: the device is not there.
    """
    from classification.modeling import torch_inference  # noqa: PLC0415 - imports torch

    classifier = torch_inference.TorchClassifier(
        network, preprocessing, resources, fingerprint, categories
    )
    if classifier.device != "cpu":
        return classifier
    return _on_processor(network, classifier, resources)


def _on_processor(
    network: nn.Module, classifier: Classifier, resources: Resources
) -> Classifier:
    """Returns the network run by ONNX Runtime, or as it was where that cannot be."""
    from classification.modeling import export, onnx  # noqa: PLC0415 - import torch

    side = classifier.preprocessing.image_size
    try:
        faster = onnx.OnnxClassifier(
            export.to_onnx(network, side),
            classifier.categories,
            classifier.preprocessing,
            replace(resources, device="cpu"),
        )
        export.check_parity(network, faster.logits, side)
    except (ModelError, RuntimeError, TypeError, ValueError) as error:
        _logger.info("torch runs this network, slower: %s", one_line(str(error)))
        return classifier
    faster.fingerprint = classifier.fingerprint
    return faster


def keep_compiled(subject: Subject, classifier: Classifier) -> Path | None:
    """Sees to it that the TorchScript file beside a checkpoint is of this checkpoint.

    Args:
        subject: what was opened.
        classifier: what ``open_subject`` made of it.

    Returns:
        The file, be it new or as it was; None where the subject is no checkpoint.

    Raises:
        ModelError: it cannot be written, or computes something else.
    """
    source = loading.resolve(str(subject.path))
    if (
        source.suffix == ".onnx"
        or _is_exported(source)
        or torch_files.is_torchscript(source)
    ):
        return None
    from classification.modeling import checkpoints, export  # noqa: PLC0415 - import torch

    saved = checkpoints.read(source)
    path = compiled_path(source)
    facts = export.ModelFacts(
        architecture=_architecture(subject, saved),
        labels=classifier.categories,
        image_size=classifier.preprocessing.image_size,
        padding=saved.padding,
        provenance=provenance.of_checkpoint(source, saved, _params(subject)),
    )
    if not _is_of(path, facts):
        export.export_torchscript(_network(subject, saved), path, facts)
        _logger.info("wrote %s", path)
    return path


def compiled_path(checkpoint: Path) -> Path:
    """Returns where the TorchScript file of a checkpoint is."""
    return checkpoint.with_name(f"{checkpoint.stem}_compiled.pt")


def _is_of(compiled: Path, facts: ModelFacts) -> bool:
    """Says whether a file is there, whole, and was made of these weights."""
    try:
        described = manifest.read(manifest.path_beside(compiled))
        manifest.read_weights(described, compiled)
    except PipelineError:
        return False
    return (
        described.provenance.get(CHECKPOINT_SHA256)
        == facts.provenance[CHECKPOINT_SHA256]
        and described.architecture == facts.architecture
        and described.labels == tuple(facts.labels)
        and described.image_size == facts.side
        and described.padding == facts.padding
    )


def _is_exported(path: Path) -> bool:
    beside = manifest.path_beside(path)
    return beside.is_file() and manifest.read(beside).weights.file == path.name


def _open_torchscript(subject: Subject, path: Path, resources: Resources) -> Classifier:
    try:
        classifier: Classifier = (
            _trusted(path, subject.preprocessing, resources)
            if subject.trust
            else torchscript.open_classifier(
                path.read_bytes(), subject.preprocessing, resources
            )
        )
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return _named(subject, classifier, None)


def _trusted(
    path: Path, preprocessing: Preprocessing, resources: Resources
) -> Classifier:
    from classification.modeling import torch_inference  # noqa: PLC0415 - imports torch

    return torch_inference.from_torchscript(path.read_bytes(), preprocessing, resources)


def _open_checkpoint(subject: Subject, path: Path, resources: Resources) -> Classifier:
    from classification.modeling import checkpoints  # noqa: PLC0415 - imports torch

    saved = checkpoints.read(path)
    preprocessing = Preprocessing(
        image_size=saved.image_size or subject.preprocessing.image_size,
        normalisation=catalog.find(_architecture(subject, saved)).normalisation,
    )
    classifier = of_network(
        _network(subject, saved), preprocessing, resources, registry.sha256_of(path)
    )
    return _named(subject, classifier, saved.labels)


def _network(subject: Subject, saved: Checkpoint) -> nn.Module:
    from classification.modeling import checkpoints  # noqa: PLC0415 - imports torch

    return checkpoints.network_of(
        subject.path, saved, _params(subject), model_name=subject.model_name
    )


def _params(subject: Subject) -> RunParams | None:
    """Returns what the run says of its network, which is not true of another one."""
    return None if subject.model_name else subject.params


def _architecture(subject: Subject, saved: Checkpoint) -> str:
    return subject.model_name or saved.architecture or subject.params.model_name


def _named(
    subject: Subject, classifier: Classifier, known: tuple[str, ...] | None
) -> Classifier:
    """Names the outputs: as the user says, as the file does, or as the labels."""
    names = subject.names or known or subject.labels()
    if len(names) != len(classifier.categories):
        raise ConfigurationError(
            f"{subject.path} has {len(classifier.categories)} outputs, and there are "
            f"{len(names)} names for them; --label-index names the outputs of a "
            "classifier that was trained on other labels"
        )
    classifier.categories = tuple(names)
    return classifier
