"""Classifiers in ONNX form."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import pytest

from classification.modeling.inference import Resources
from classification.modeling.onnx import OnnxClassifier
from classification.modeling.preprocessing import Preprocessing
from classification.runtime.errors import ConfigurationError, ModelError
from tests import classifiers

if TYPE_CHECKING:
    from pathlib import Path

CPU = Resources(device="cpu", threads=1)
TINY = Preprocessing(image_size=classifiers.SIDE)


def _open(data: bytes, labels: tuple[str, ...] = classifiers.LABELS) -> OnnxClassifier:
    return OnnxClassifier(data, labels, TINY, CPU)


def test_predict() -> None:
    classifier = _open(classifiers.tiny_onnx())
    squares = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    found = classifier.predict(squares)
    assert found.shape == (5, 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    for index in range(5):  # an image's result does not depend on those beside it
        alone = classifier.predict(squares[index : index + 1])
        np.testing.assert_array_equal(alone[0], found[index])
    assert classifier.device == "cpu"
    assert len(classifier.fingerprint) == 64


def test_damaged() -> None:
    with pytest.raises(ModelError, match=r"^not an ONNX network that can be run: "):
        _open(b"not a model")


def test_another_number_of_outputs() -> None:
    with pytest.raises(ModelError) as caught:
        _open(classifiers.tiny_onnx(4))
    assert str(caught.value) == "the network has 4 outputs, its manifest 3 labels"


def test_auto_takes_what_is_there() -> None:
    resources = Resources(device="auto", threads=1)
    classifier = OnnxClassifier(
        classifiers.tiny_onnx(), classifiers.LABELS, TINY, resources
    )
    there = "CUDAExecutionProvider" in ort.get_available_providers()
    assert classifier.device == ("cuda:0" if there else "cpu")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="a GPU is there"
)
def test_a_gpu_that_is_not_there() -> None:
    resources = Resources(device="cuda:0", threads=1)
    with pytest.raises(ConfigurationError) as caught:
        OnnxClassifier(classifiers.tiny_onnx(), classifiers.LABELS, TINY, resources)
    assert str(caught.value) == (
        "--device cuda:0: ONNX Runtime has no CUDA here; install onnxruntime-gpu, or "
        "use --device cpu"
    )


def test_torch_is_not_imported(tmp_path: Path) -> None:
    path = classifiers.save_exported(tmp_path / "m.onnx")
    program = (
        "import sys; from pathlib import Path\n"
        "from classification.modeling import loading\n"
        "from classification.modeling.inference import Resources\n"
        "import numpy as np\n"
        f"c = loading.open_classifier(Path({str(path)!r}), Resources(device='cpu'))\n"
        "c.predict(np.zeros((1, 16, 16, 3), np.uint8))\n"
        "print(sorted({'torch', 'timm', 'torchvision'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
