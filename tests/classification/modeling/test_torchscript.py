"""TorchScript files as classifiers, without torch."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from classification.modeling import torch_inference, torchscript
from classification.modeling.inference import Resources
from classification.modeling.preprocessing import Preprocessing
from classification.runtime.errors import ModelError
from tests import classifiers
from tests import hostile_archives as hostile

if TYPE_CHECKING:
    from pathlib import Path

OVERRIDE = "; --trust-model loads it with torch, which runs whatever it says"
TINY = Preprocessing(image_size=classifiers.SIDE)
CPU = Resources(device="cpu")


def traced() -> bytes:
    return classifiers.traced_bytes(classifiers.tiny_network(), classifiers.SIDE)


def squares(count: int = 3) -> np.ndarray:
    shape = (count, classifiers.SIDE, classifiers.SIDE, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_it_computes_what_torch_does() -> None:
    data = traced()
    ours = torchscript.open_classifier(data, TINY, CPU)
    theirs = torch_inference.from_torchscript(data, TINY, CPU)
    assert ours.categories == theirs.categories == ("0", "1", "2")
    assert ours.fingerprint == theirs.fingerprint
    np.testing.assert_allclose(
        ours.predict(squares()), theirs.predict(squares()), atol=1e-5
    )


WITHOUT_TORCH = """
import sys
from pathlib import Path
sys.modules["torch"] = None
from classification.modeling import loading
from classification.modeling.inference import Resources
import numpy as np
classifier = loading.open_classifier(Path(sys.argv[1]), Resources(), image_size=16)
print(classifier.predict(np.zeros((1, 16, 16, 3), np.uint8)).shape)
"""


def test_torch_need_not_be_installed(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(traced())
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "(1, 3)\n"


def test_a_refusal_names_the_first_thing_and_the_way_round() -> None:
    data = hostile.archive('torch.save(x, "trace")\nreturn x')
    with pytest.raises(ModelError) as caught:
        torchscript.translate(data, 224)
    assert str(caught.value) == (
        f"refused for the operation torch.save (__torch__.net line 8){OVERRIDE}"
    )


def test_a_damaged_archive_is_said_to_be_one() -> None:
    with pytest.raises(ModelError, match=r"^damaged TorchScript archive: "):
        torchscript.translate(traced()[:-100], 16)
    lying = hostile.archive(
        value=hostile.network(hostile.mapping(w=hostile.tensor(size=(9, 9))))
    )
    with pytest.raises(ModelError, match=r"^damaged .* outside of its storage"):
        torchscript.translate(lying, 16)


def test_weights_of_another_number_of_labels() -> None:
    with pytest.raises(ModelError, match=r"3 outputs|2 labels"):
        torchscript.open_classifier(traced(), TINY, CPU, ("bear", "deer"))


def test_rebuilt_without_notes_it_computes_the_same() -> None:
    rebuilt = torchscript.rebuild(traced(), classifiers.SIDE)
    with zipfile.ZipFile(io.BytesIO(rebuilt)) as archive:
        assert not [name for name in archive.namelist() if "debug" in name]
    images = torch.rand(2, 3, classifiers.SIDE, classifiers.SIDE)
    with torch.inference_mode():
        expected = classifiers.tiny_network()(images)
        found = torch_inference.load_torchscript(rebuilt)(images)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    "data",
    [
        hostile.archive("g = getattr\nreturn g(self, 'w')"),
        classifiers.torchscript_bytes(classifiers.tiny_network()),
    ],
)
def test_what_would_be_refused_is_not_rebuilt(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"^refused for "):
        torchscript.rebuild(data)
