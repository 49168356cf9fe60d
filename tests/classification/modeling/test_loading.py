"""Whatever model a person names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import external_data_helper

from classification.modeling import loading, manifest
from classification.modeling.inference import Resources
from classification.modeling.scaling import Temperature
from classification.runtime.errors import ConfigurationError, ModelError
from tests import classifiers

CPU = Resources(device="cpu", threads=1)


def test_a_name_that_is_nothing() -> None:
    with pytest.raises(ModelError) as caught:
        loading.resolve("no-such-model")
    assert str(caught.value) == (
        "no such model: no-such-model; a file, or one of: efficientnet-lite0-imagenet, "
        "efficientnet-lite1-imagenet, efficientnet-lite2-imagenet"
    )


def test_a_file_is_itself(tmp_path: Path) -> None:
    path = classifiers.save_exported(tmp_path / "m.onnx")
    assert loading.resolve(str(path)) == path


def test_exported(tmp_path: Path) -> None:
    classifier = loading.open_classifier(
        classifiers.save_exported(tmp_path / "m.onnx"), CPU
    )
    assert classifier.categories == classifiers.LABELS
    assert classifier.preprocessing.image_size == classifiers.SIDE


def test_an_image_size_that_contradicts_the_manifest(tmp_path: Path) -> None:
    path = classifiers.save_exported(tmp_path / "m.onnx")
    with pytest.raises(ConfigurationError) as caught:
        loading.open_classifier(path, CPU, image_size=300)
    assert str(caught.value) == (
        "--image-size 300: m.onnx takes 16, as its manifest says; leave the option out"
    )
    assert loading.open_classifier(path, CPU, image_size=classifiers.SIDE)


def test_onnx_without_a_manifest(tmp_path: Path) -> None:
    path = classifiers.save_exported(tmp_path / "m.onnx")
    manifest.path_beside(path).unlink()
    with pytest.raises(ModelError) as caught:
        loading.open_classifier(path, CPU)
    assert str(caught.value) == (
        f"{path}: its manifest m.manifest.json is not beside it, and an ONNX file alone"
        " does not tell its labels and normalisation"
    )


def test_a_damaged_onnx_file_is_named(tmp_path: Path) -> None:
    path = classifiers.save_exported(tmp_path / "m.onnx", b"not a model")
    with pytest.raises(ModelError, match=r"m\.onnx: not an ONNX model, or damaged"):
        loading.open_classifier(path, CPU)


def test_weights_beside_a_model_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = onnx.load_from_string(classifiers.tiny_onnx())
    split = onnx.ModelProto()
    split.CopyFrom(whole)
    external_data_helper.convert_model_to_external_data(
        split, location="m.data", size_threshold=0
    )
    onnx.save(split, tmp_path / "m.onnx")
    data = (tmp_path / "m.onnx").read_bytes()
    classifiers.save_exported(tmp_path / "m.onnx", data)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    found = loading.open_classifier(Path("../m.onnx"), CPU)
    kept = classifiers.save_exported(tmp_path / "whole.onnx")
    squares = np.full((1, 16, 16, 3), 99, np.uint8)
    expected = loading.open_classifier(kept, CPU).predict(squares)
    assert found.predict(squares).tolist() == expected.tolist()
    weights = tmp_path / "m.data"
    weights.write_bytes(weights.read_bytes()[::-1])
    other = loading.open_classifier(Path("../m.onnx"), CPU)
    assert other.fingerprint != found.fingerprint


def test_operators_of_others_need_trust(tmp_path: Path) -> None:
    network = onnx.load_from_string(classifiers.tiny_onnx())
    network.graph.node[0].domain = "ai.onnx.contrib"
    path = classifiers.save_exported(tmp_path / "m.onnx", network.SerializeToString())
    with pytest.raises(ModelError, match=r"ai\.onnx\.contrib.*--trust-model"):
        loading.open_classifier(path, CPU)
    with pytest.raises(ModelError, match="not an ONNX network that can be run"):
        loading.open_classifier(path, CPU, trust_model=True)


def test_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(
        classifiers.traced_bytes(classifiers.tiny_network(), classifiers.SIDE)
    )
    classifier = loading.open_classifier(path, CPU)
    assert classifier.categories == ("0", "1", "2")
    assert classifier.preprocessing.image_size == 224
    small = loading.open_classifier(path, CPU, image_size=32)
    assert small.predict(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 3)


def test_torchscript_with_a_manifest(tmp_path: Path) -> None:
    network = classifiers.tiny_network()
    data = classifiers.traced_bytes(network, classifiers.SIDE)
    path = classifiers.save_exported(tmp_path / "m.pt", data)
    classifier = loading.open_classifier(path, CPU)
    assert classifier.categories == classifiers.LABELS
    assert classifier.preprocessing.image_size == classifiers.SIDE
    squares = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    alone = tmp_path / "alone.pt"
    alone.write_bytes(data)
    plain = loading.open_classifier(alone, CPU, image_size=classifiers.SIDE)
    np.testing.assert_array_equal(classifier.predict(squares), plain.predict(squares))


@pytest.mark.parametrize("name", ["m.onnx", "m.pt"])
def test_calibration_is_applied_unless_it_is_not_wanted(
    tmp_path: Path, name: str
) -> None:
    script = classifiers.traced_bytes(classifiers.tiny_network(), classifiers.SIDE)
    data = classifiers.tiny_onnx() if name == "m.onnx" else script
    path = classifiers.save_exported(tmp_path / name, data)
    squares = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    plain = loading.open_classifier(path, CPU)
    classifiers.calibrate(path, temperature=2.0)
    calibrated = loading.open_classifier(path, CPU)
    assert plain.calibration is None
    assert calibrated.calibration is not None
    assert calibrated.calibration.scaling == Temperature(temperature=2.0)
    raised = np.sqrt(plain.predict(squares))
    np.testing.assert_allclose(
        calibrated.predict(squares), raised / raised.sum(1, keepdims=True), atol=1e-6
    )
    unwanted = loading.open_classifier(path, CPU, calibrate=False)
    assert unwanted.calibration is None
    np.testing.assert_array_equal(unwanted.predict(squares), plain.predict(squares))


def test_a_checkpoint_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "ckpt_3.pt"
    torch.save({"model": classifiers.tiny_network().state_dict(), "epoch": 3}, path)
    with pytest.raises(ModelError) as caught:
        loading.open_classifier(path, CPU)
    assert str(caught.value) == (
        f"{path}: not TorchScript, and no manifest beside it; a training checkpoint "
        "holds weights without their network; this makes a model of it: python -m "
        f"classification.export_model {path} {tmp_path}/ckpt_3.onnx"
    )


def test_d45_a_pickle_with_a_manifest_is_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.mkdir, (trace,)

    plain = tmp_path / "plain.pt"
    torch.save(Payload(), plain)
    path = classifiers.save_exported(tmp_path / "m.pt", plain.read_bytes())
    with pytest.raises(ModelError, match="not a file of weights alone"):
        loading.open_classifier(path, CPU)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x05\x06" + bytes(18)])
def test_no_model_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.pt: not TorchScript"):
        loading.open_classifier(path, CPU)
