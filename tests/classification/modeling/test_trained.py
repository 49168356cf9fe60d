"""What a training run leaves is opened, whatever of it a person names."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import torch

from classification.artifacts.run_params import RunParams
from classification.modeling import (
    checkpoints,
    embedded,
    export,
    manifest,
    networks,
    trained,
)
from classification.modeling.checkpoints import Checkpoint
from classification.modeling.export import ModelFacts
from classification.modeling.inference import Resources
from classification.modeling.onnx import OnnxClassifier
from classification.modeling.preprocessing import Preprocessing
from classification.modeling.torch_inference import TorchClassifier
from classification.modeling.trained import Subject
from classification.runtime import registry
from classification.runtime.errors import ConfigurationError, ModelError
from tests import classifiers
from tests.classifiers import LABELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINY = "timm/test_efficientnet"  # 100,000 weights
SIDE = 32
CPU = Resources(device="cpu")
PARAMS = RunParams(
    dataset_dir="run",
    cropped_images_dir="crops",
    model_name=TINY,
    image_size=SIDE,
)


def network_of(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return classifiers.lively(networks.build(TINY, 3, image_size=SIDE), SIDE)


@dataclass(frozen=True)
class Run:
    """A run folder with a checkpoint of a real, small network."""

    checkpoint: Path
    squares: NDArray[np.uint8]

    def save(self, seed: int, **said: object) -> None:
        fields = {"labels": LABELS, "architecture": TINY, "image_size": SIDE}
        state = network_of(seed).state_dict()
        checkpoints.write(self.checkpoint, Checkpoint(model=state, **fields | said))  # type: ignore[arg-type]  # tests name them

    @property
    def subject(self) -> Subject:
        return Subject(path=self.checkpoint, params=PARAMS, labels=lambda: LABELS)

    def probabilities(self, subject: Subject | None = None) -> NDArray[np.float32]:
        classifier = trained.open_subject(subject or self.subject, CPU)
        assert classifier.categories == LABELS
        assert classifier.preprocessing.image_size == SIDE
        return classifier.predict(self.squares)

    def compile(self) -> Path:
        classifier = trained.open_subject(self.subject, CPU)
        path = trained.keep_compiled(self.subject, classifier)
        assert path is not None
        return path


@pytest.fixture
def run(tmp_path: Path) -> Run:
    squares = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    run = Run(tmp_path / "ckpt_3.pt", squares)
    run.save(seed=1)
    return run


def expected(run: Run, seed: int) -> NDArray[np.float32]:
    from classification.modeling import catalog, inference, preprocessing  # noqa: PLC0415 - only here

    images = preprocessing.normalise(run.squares, catalog.IMAGENET)
    with torch.inference_mode():
        logits = network_of(seed)(torch.from_numpy(images)).numpy()
    return inference.softmax(logits)


def test_a_checkpoint_gives_what_its_network_gives(run: Run) -> None:
    np.testing.assert_allclose(run.probabilities(), expected(run, 1), atol=1e-4)


def test_the_originals_checkpoint_is_told_by_the_run_what_it_is(run: Run) -> None:
    document = {
        "epoch": 3,
        "model": network_of(2).state_dict(),
        "val/acc": 50.0,
        "optimizer": {},
    }
    torch.save(document, run.checkpoint)
    np.testing.assert_allclose(run.probabilities(), expected(run, 2), atol=1e-4)


def test_what_is_compiled_gives_the_same_alone_and_beside_its_manifest(
    run: Run,
) -> None:
    path = run.compile()
    assert path.name == "ckpt_3_compiled.pt"
    described = manifest.read(manifest.path_beside(path))
    assert described.labels == LABELS
    assert described.provenance["checkpoint"] == "ckpt_3.pt"
    assert described.provenance["params.model_name"] == TINY
    beside = replace(run.subject, path=path)
    np.testing.assert_allclose(
        run.probabilities(beside), run.probabilities(), atol=1e-4
    )
    manifest.path_beside(path).unlink()  # as the original leaves it
    np.testing.assert_allclose(
        run.probabilities(beside), run.probabilities(), atol=1e-4
    )


def test_what_was_compiled_of_the_same_checkpoint_stays(run: Run) -> None:
    path = run.compile()
    before = path.stat().st_mtime_ns
    assert run.compile() == path
    assert path.stat().st_mtime_ns == before


def test_d15_what_was_compiled_of_an_older_checkpoint_is_made_anew(run: Run) -> None:
    path = run.compile()
    run.save(seed=2)  # trained again in the same folder
    assert run.compile() == path
    alone = replace(run.subject, path=path)
    np.testing.assert_allclose(run.probabilities(alone), expected(run, 2), atol=1e-4)


def test_d15_a_compiled_file_that_nobody_vouches_for_is_made_anew(run: Run) -> None:
    path = run.compile()
    manifest.path_beside(path).unlink()
    run.compile()
    assert manifest.path_beside(path).exists()
    path.write_bytes(b"damaged")
    run.compile()
    beside = replace(run.subject, path=path)
    np.testing.assert_allclose(
        run.probabilities(beside), run.probabilities(), atol=1e-4
    )


def test_d15_a_checkpoint_is_measured_by_its_own_weights(run: Run) -> None:
    """Whatever stands beside it under the name of its TorchScript file."""
    run.compile()
    run.save(seed=2)
    np.testing.assert_allclose(run.probabilities(), expected(run, 2), atol=1e-4)


def test_an_exported_model_knows_all_itself(run: Run, tmp_path: Path) -> None:
    facts = ModelFacts(architecture=TINY, labels=LABELS, image_size=SIDE)
    path = tmp_path / "deer.onnx"
    export.export(network_of(1), path, facts)
    params = msgspec.structs.replace(PARAMS, model_name="efficientnet-b7")
    subject = Subject(path=path, params=params, labels=lambda: ("nobody", "asks"))
    np.testing.assert_allclose(run.probabilities(subject), expected(run, 1), atol=1e-4)
    classifier = trained.open_subject(subject, CPU)
    assert trained.keep_compiled(subject, classifier) is None


def test_a_calibrated_model_is_measured_with_and_without(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "deer.onnx"
    facts = ModelFacts(architecture=TINY, labels=LABELS, image_size=SIDE)
    export.export(network_of(1), path, facts)
    classifiers.calibrate(path, temperature=2.0)
    subject = replace(run.subject, path=path)
    calibrated = run.probabilities(subject)
    plain = run.probabilities(replace(subject, calibrate=False))
    assert not np.allclose(calibrated, plain)
    np.testing.assert_allclose(plain, expected(run, 1), atol=1e-4)


def test_another_architecture_has_its_own_image_size(tmp_path: Path) -> None:
    path = tmp_path / "v0.1_efficientnet-b3_compiled.pt"
    path.write_bytes(classifiers.traced_bytes(classifiers.tiny_network(), 64))
    subject = Subject(
        path=path,
        params=PARAMS,
        labels=lambda: LABELS,
        model_name="efficientnet-b3",
        names=("x", "y", "z"),
    )
    classifier = trained.open_subject(subject, CPU)
    assert classifier.preprocessing.image_size == 300
    assert classifier.categories == ("x", "y", "z")


def test_names_that_are_not_as_many_as_the_outputs_are_refused(run: Run) -> None:
    run.save(seed=1, labels=None)
    subject = replace(run.subject, labels=lambda: ("a", "b"))
    with pytest.raises(
        ConfigurationError, match=r"ckpt_3\.pt has 3 outputs, .* 2 names"
    ):
        trained.open_subject(subject, CPU)


def test_d45_pickled_code_is_refused_and_not_run(run: Run, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return (open, (str(ran), "w"))

    torch.save({"model": Harm()}, run.checkpoint)
    with pytest.raises(ModelError, match=r"ckpt_3\.pt"):
        run.probabilities()
    assert not ran.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a model"])
def test_what_is_no_model_is_one_line_with_its_name(run: Run, content: bytes) -> None:
    run.checkpoint.write_bytes(content)
    with pytest.raises(ModelError, match=r"ckpt_3\.pt") as refusal:
        run.probabilities()
    assert "\n" not in str(refusal.value)


def test_a_model_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        run.probabilities(replace(run.subject, path=tmp_path / "none.pt"))
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(b"x")
    with pytest.raises(ModelError, match=r"bare\.manifest\.json is not beside it"):
        run.probabilities(replace(run.subject, path=bare))


def test_a_model_that_is_known_by_name_is_measured(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = classifiers.save_exported(tmp_path / "own.onnx")
    monkeypatch.setitem(embedded.MODELS, "own", object())  # type: ignore[arg-type]  # only its name is asked for
    monkeypatch.setattr(embedded, "path", {"own": path}.get)
    subject = replace(run.subject, path=Path("own"))
    classifier = trained.open_subject(subject, CPU)
    assert classifier.categories == LABELS
    assert trained.keep_compiled(subject, classifier) is None


def test_a_processor_runs_a_checkpoint_by_onnx_runtime(run: Run) -> None:
    classifier = trained.open_subject(run.subject, CPU)
    assert isinstance(classifier, OnnxClassifier)
    assert classifier.fingerprint == registry.sha256_of(run.checkpoint)


class Bessel(torch.nn.Module):
    """A classifier with a function that ONNX does not have."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.special.i0e(images.mean((2, 3)))


def test_torch_runs_what_onnx_has_no_words_for(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    classifier = trained.of_network(
        Bessel(), Preprocessing(image_size=SIDE), CPU, "f", LABELS
    )
    assert isinstance(classifier, TorchClassifier)
    assert classifier.predict(run.squares).shape == (4, 3)
    [said] = caplog.messages
    assert said.startswith("torch runs this network, slower: ")
    assert "special_i0e" in said
