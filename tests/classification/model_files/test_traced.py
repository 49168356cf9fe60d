"""Traced TorchScript as ONNX: the same numbers, and nothing that is not in the table."""

from __future__ import annotations

import copy
import io
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnxruntime
import pytest
import torch

from classification.model_files import torch_files, traced
from classification.model_files.pickles import DamagedFileError, NotDataError
from classification.runtime.errors import ModelError
from tests import classifiers
from tests import hostile_archives as hostile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIDE = 64


def translated(data: bytes, side: int = SIDE) -> traced.Translation:
    return traced.translate(torch_files.read_torchscript(io.BytesIO(data)), side)


def computed(data: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        translated(data, images.shape[-1]).data, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"images": images})[0])


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    raised = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True))


def assert_same(network: torch.nn.Module, side: int) -> None:
    """The translation of a network gives its probabilities, for batches of any size.

    They differ by 1e-5 at most, or by little more than float32 from float64: some random
    weights multiply every rounding.
    """
    images = torch.randn(8, 3, side, side)
    if any(isinstance(part, torch.nn.BatchNorm2d) for part in network.modules()):
        classifiers.lively(network, side, images)
    found = computed(classifiers.traced_bytes(network, side), images.numpy())
    with torch.inference_mode():
        expected = network(images).numpy()
        exact = copy.deepcopy(network).double()(images.double()).numpy()
    assert expected.std() > 0
    factor = 4 / np.abs(expected).max()
    ours, single, double = (softmax(x * factor) for x in (found, expected, exact))
    rounding = float(np.abs(single - double).max())
    np.testing.assert_allclose(ours, single, rtol=0, atol=max(1e-5, 4 * rounding))


def torchvision(name: str) -> torch.nn.Module:
    from torchvision import models  # noqa: PLC0415 - slow to import

    torch.manual_seed(0)
    network: torch.nn.Module = models.get_model(name, weights=None, num_classes=10)
    if "vit" in name:
        torch.nn.init.normal_(network.heads.head.weight)  # type: ignore[arg-type, union-attr]
    return network.eval()


def efficientnet(name: str, package: str = "efficientnet_pytorch") -> torch.nn.Module:
    library = pytest.importorskip(package)
    torch.manual_seed(0)
    network: Any = library.EfficientNet.from_name(name, num_classes=10, image_size=SIDE)
    network.set_swish(memory_efficient=False)
    return cast("torch.nn.Module", network.eval())


def vendored(name: str) -> torch.nn.Module:
    """Builds what megadetector-utils, an oracle, carries of efficientnet-pytorch."""
    return efficientnet(name, "megadetector.classification.efficientnet")


def timm(name: str) -> torch.nn.Module:
    import timm as library  # noqa: PLC0415 - slow to import

    torch.manual_seed(0)
    network: torch.nn.Module = library.create_model(name, num_classes=10)
    return network.eval()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (torchvision, "resnet18"),
        (torchvision, "efficientnet_b0"),
        (efficientnet, "efficientnet-b0"),
        (timm, "efficientnet_lite0"),
    ],
)
def test_classifiers_of_several_packages(
    make: Callable[[str], torch.nn.Module], name: str
) -> None:
    assert_same(make(name), SIDE)


@pytest.mark.filterwarnings("ignore")  # of the packages that make the networks
@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "name", "side"),
    [
        *(
            (torchvision, name, SIDE)
            for name in (
                *("resnet50", "efficientnet_b3", "mobilenet_v2", "mobilenet_v3_small"),
                *("densenet121", "squeezenet1_1", "alexnet", "shufflenet_v2_x0_5"),
                *("regnet_y_400mf", "mnasnet0_5", "googlenet", "convnext_tiny"),
            )
        ),
        (torchvision, "vit_b_32", 224),
        (efficientnet, "efficientnet-b3", SIDE),
        (vendored, "efficientnet-b0", SIDE),
        (timm, "tf_efficientnet_lite0", SIDE),
        (timm, "efficientnet_b0", SIDE),
        (timm, "convnextv2_atto", SIDE),
        (timm, "resnet18d", SIDE),
    ],
)
def test_many_classifiers(
    make: Callable[[str], torch.nn.Module], name: str, side: int
) -> None:
    assert_same(make(name), side)


class Layers(torch.nn.Module):
    """What the code of traced networks is made of, beside layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding="same")
        self.norm = torch.nn.BatchNorm2d(8, affine=False)
        self.linear = torch.nn.Linear(8, 10, bias=False)
        self.scale = torch.nn.Parameter(torch.rand(()))
        self.table = torch.nn.Parameter(torch.rand(5, 8))
        self.register_buffer("places", torch.tensor([4, 0, 2, 2, 1, 3, 3, 0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.pad(x, (1, 2, 0, 1), value=0.5)
        x = self.norm(self.conv(x)).relu_()
        x = torch.nn.functional.adaptive_avg_pool2d(x, (5, 7))
        x = torch.nn.functional.max_pool2d(x, 2, ceil_mode=True)
        x = x.roll(1, 3) * self.scale - x.mean((1, 3), keepdim=True)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, -1)
        x = torch.cat(x.chunk(2, dim=1)[::-1], dim=1)
        x = (x.permute(0, 2, 1) @ self.table[self.places]).softmax(-1)
        x = x.expand(n, -1, -1).clamp(0.01, 0.9).unflatten(1, (-1, 1)).squeeze(2)
        return 3 * self.linear(torch.nn.functional.gelu(x[:, 0] + x[:, 1:].sum(1)))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_shapes_and_arithmetic() -> None:
    torch.manual_seed(0)
    assert_same(Layers().eval(), SIDE)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_an_odd_way_to_divide_and_join() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = torch.nn.Parameter(torch.rand(3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            parts = torch.stack(x.unbind(1), dim=-1).flatten(1, 2)
            parts = torch.nn.functional.normalize(parts, dim=1)
            return torch.addmm(parts.amax(1), parts[:, 0], self.matrix)

    assert_same(Odd().eval(), 8)


def test_a_frozen_network_keeps_its_weights_in_constants() -> None:
    network = classifiers.tiny_network()
    script = torch.jit.trace(network, torch.zeros(1, 3, SIDE, SIDE))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.freeze(script), buffer)
    images = np.random.default_rng(0).standard_normal((2, 3, SIDE, SIDE), np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(computed(buffer.getvalue(), images), expected, atol=1e-5)


def test_the_harmless_archive() -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)
    found = computed(hostile.archive(), images)
    np.testing.assert_allclose(found, images.mean((2, 3)), atol=1e-6)


def test_a_result_in_place_may_be_used() -> None:
    body = "y = torch.mean(x, [2, 3])\nz = torch.add_(y, 1.5)\nreturn torch.mul_(z, z)"
    images = np.random.default_rng(0).standard_normal((2, 3, 8, 8), np.float32)
    found = computed(hostile.archive(body), images)
    np.testing.assert_allclose(found, (images.mean((2, 3)) + 1.5) ** 2, atol=1e-5)


# --- what is refused ------------------------------------------------------------

TRACE = Path(tempfile.gettempdir()) / "ct-hostile-trace"
HOSTILE = hostile.torchscript(TRACE)


def assert_refused(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises((DamagedFileError, NotDataError)):
        translated(data, 224)
    assert time.process_time() - started < 5
    assert not TRACE.exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused(name: str) -> None:
    assert_refused(HOSTILE[name])


def test_a_bomb_is_refused() -> None:
    for data in hostile.torchscript_bombs().values():
        assert_refused(data)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("code: a branch", r"^a branch \(if\) \(__torch__.net line 8\)$"),
        ("code: a loop", r"^a loop \(for\) \(__torch__.net line 8\)$"),
        ("code: getattr under another name", "^the name getattr "),
        ("code: used after an operation in place", "an operation in place wrote over"),
        ("code: used after an operation on a part", "a result that .* wrote over"),
        ("operation: torch.resize_(x, [2, 100000])", "^the operation torch.resize_ "),
        ("archive: a cast", "^the operation unchecked_cast "),
        ("misuse: torch.dropout(x, 0.5, True)", "training mode"),
        ("misuse: torch.mean(x, [0])", "mixes the images"),
        ("code: many large layers", "MiB for one image"),
    ],
)
def test_the_refusal_names_the_first_such_thing(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        translated(HOSTILE[name], 224)


def scripted(network: Any) -> bytes:  # noqa: ANN401 - of torch
    return classifiers.torchscript_bytes(network)


def test_a_scripted_network_is_refused() -> None:
    class Scripted(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[0] > 1:
                x = x * 2
            return x.mean((2, 3))

    with pytest.raises(NotDataError, match=r"^(the|a) (operation|expression|branch)"):
        translated(scripted(Scripted()))


@pytest.mark.filterwarnings("ignore")
def test_a_network_in_training_is_refused() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    buffer = io.BytesIO()
    torch.jit.save(
        torch.jit.trace(network.train(), torch.zeros(2, 3, 8, 8), check_trace=False),
        buffer,
    )
    with pytest.raises(NotDataError, match="written over"):
        translated(buffer.getvalue())


def test_hostile_archives_cost_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    files = HOSTILE | hostile.torchscript_bombs()
    read = "traced.translate(torch_files.read_torchscript(path), 224)"
    grown, has_torch = hostile.cost_of(read, files, tmp_path)
    assert grown < 400
    assert not has_torch
