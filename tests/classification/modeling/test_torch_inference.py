"""Classifiers that run through torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from classification.modeling import preprocessing, torch_inference
from classification.modeling.inference import Resources, softmax
from classification.modeling.preprocessing import Preprocessing
from classification.modeling.torch_inference import TorchClassifier
from classification.runtime.errors import ConfigurationError, ModelError
from tests import classifiers

CPU = Resources(device="cpu", threads=1)
TINY = Preprocessing(image_size=classifiers.SIDE)


def test_predict() -> None:
    network = classifiers.tiny_network()
    classifier = TorchClassifier(network, TINY, CPU, "f")
    squares = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    images = preprocessing.normalise(squares, TINY.normalisation)
    with torch.inference_mode():
        expected = softmax(network(torch.from_numpy(images)).numpy())
    np.testing.assert_allclose(classifier.predict(squares), expected, atol=1e-6)
    assert classifier.categories == ("0", "1", "2")
    assert classifier.device == "cpu"


def test_names_of_another_number() -> None:
    with pytest.raises(ModelError) as caught:
        TorchClassifier(classifiers.tiny_network(), TINY, CPU, "f", ("a", "b"))
    assert str(caught.value) == "the network has 3 outputs, its manifest 2 labels"


def test_an_input_that_does_not_fit() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(5, 2))
    with pytest.raises(ModelError) as caught:
        TorchClassifier(network, TINY, CPU, "f")
    said, _, why = str(caught.value).partition(": ")
    assert said == "the network cannot take images of 16 x 16 pixels (--image-size)"
    assert "mat1 and mat2" in why  # torch words the rest as it likes


class Pair(torch.nn.Module):
    """Gives two tensors."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Doubles the input."""
        return x, x


def test_networks_that_are_no_classifiers() -> None:
    with pytest.raises(ModelError, match=r"^not a classifier: it gives a tuple$"):
        TorchClassifier(Pair(), TINY, CPU, "f")
    with pytest.raises(ModelError) as caught:
        TorchClassifier(torch.nn.Identity(), TINY, CPU, "f")
    assert str(caught.value) == (
        "not a classifier: two images give the shape [2, 3, 16, 16]"
    )


def test_devices() -> None:
    assert torch_inference.choose_device("cpu") == "cpu"
    there = torch.cuda.device_count()
    assert torch_inference.choose_device("auto") == ("cuda:0" if there else "cpu")
    with pytest.raises(ConfigurationError) as caught:
        torch_inference.choose_device("cuda:77")
    assert str(caught.value) == (
        f"--device cuda:77: torch sees {there} CUDA devices here; check_device tells more"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu() -> None:
    classifier = TorchClassifier(
        classifiers.tiny_network(), TINY, Resources(device="cuda:0"), "f"
    )
    squares = np.zeros((2, 16, 16, 3), np.uint8)
    assert classifier.predict(squares).shape == (2, 3)


def test_a_file_that_torch_cannot_load() -> None:
    with pytest.raises(ModelError, match=r"^torch cannot load this TorchScript file: "):
        torch_inference.load_torchscript(b"no archive")
