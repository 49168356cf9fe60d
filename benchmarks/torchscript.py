"""What the translation of traced TorchScript costs and changes, beside torch's own exporter.

Networks with random weights whose batch norms fit their input, and whose last layer gives
each photograph an answer of its own (largest probabilities above 0.5). For each one:

* the largest difference of probabilities from eager float32, of the translation as computed
  in a process without torch, and of the same network exported to ONNX by torch;
* seconds to translate, in that process;
* milliseconds of an image on one processor thread, in turns with the exported network.

The vendored EfficientNet is of the package megadetector-utils (pip install --no-deps).

Example:
  python benchmarks/torchscript.py --rounds 20
"""

from __future__ import annotations

import argparse
import importlib
import io
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import onnxruntime
import torch
from torch import nn

from classification.model_files import torch_files, traced
from classification.modeling import export, networks, preprocessing
from classification.modeling.catalog import IMAGENET
from classification.modeling.inference import softmax
from tests.classifiers import lively, traced_bytes
from tests.world import photograph

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LABELS = 10
WITHOUT_TORCH = """
import sys, time
sys.modules["torch"] = None
from pathlib import Path
import numpy as np, onnxruntime
from classification.model_files import torch_files, traced
script, images, logits = map(Path, sys.argv[1:])
batch = np.load(images)
began = time.process_time()
network = traced.translate(torch_files.read_torchscript(script), batch.shape[-1])
seconds = time.process_time() - began
session = onnxruntime.InferenceSession(network.data, providers=["CPUExecutionProvider"])
np.save(logits, session.run(None, {"images": batch})[0])
print(seconds)
"""


def torchvision(name: str) -> nn.Module:
    """Build a network of torchvision."""
    from torchvision import models  # noqa: PLC0415 - slow to import

    return cast("nn.Module", models.get_model(name, num_classes=LABELS))


def efficientnet(package: str, name: str, side: int) -> nn.Module:
    """Build an EfficientNet of a package that goes back to efficientnet-pytorch."""
    made = importlib.import_module(package).EfficientNet.from_name(
        name, num_classes=LABELS, image_size=side
    )
    made.set_swish(memory_efficient=False)
    return cast("nn.Module", made)


VENDORED = "megadetector.classification.efficientnet"
NETWORKS: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "EfficientNet-B0 (torchvision)": (224, lambda: torchvision("efficientnet_b0")),
    "EfficientNet-B3 (torchvision)": (300, lambda: torchvision("efficientnet_b3")),
    "ResNet-50 (torchvision)": (224, lambda: torchvision("resnet50")),
    "EfficientNet-B0 (megadetector-utils)": (
        224,
        lambda: efficientnet(VENDORED, "efficientnet-b0", 224),
    ),
    "EfficientNet-B3 (megadetector-utils)": (
        300,
        lambda: efficientnet(VENDORED, "efficientnet-b3", 300),
    ),
}


def photographs(side: int) -> NDArray[np.float32]:
    """Draw one photograph for each label, normalised, [LABELS, 3, side, side].

    Each has a light of its own colour, so that even random features tell them apart.
    """
    lights = np.random.default_rng(0).uniform(0.1, 1, (LABELS, 1, 1, 3))
    scenes = [np.asarray(photograph(side, side, seed=seed)) for seed in range(LABELS)]
    squares = (np.stack(scenes) * lights).astype(np.uint8)
    return preprocessing.normalise(squares, IMAGENET)


def spread_answers(network: nn.Module, images: torch.Tensor) -> None:
    """Give the last layer weights that know each of the images."""
    (name,) = networks.head_names(network)
    head = cast("nn.Linear", network.get_submodule(name))
    seen: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(images)
    hook.remove()
    features = seen[0].double()
    centred = features - features.mean(0)
    answers = 3 * torch.eye(len(images), dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_((torch.linalg.pinv(centred) @ answers).T)
        head.bias.copy_(-(head.weight.double() @ features.mean(0)))


def session(data: bytes) -> onnxruntime.InferenceSession:
    """Open a network on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        data, options, providers=["CPUExecutionProvider"]
    )


def milliseconds(
    sessions: list[onnxruntime.InferenceSession],
    image: NDArray[np.float32],
    rounds: int,
) -> list[float]:
    """Return the median processor milliseconds of an image by each session, in turns."""
    taken: list[list[float]] = [[] for _ in sessions]
    for _ in range(rounds + 2):
        for at, one in enumerate(sessions):
            began = time.process_time()
            one.run(None, {one.get_inputs()[0].name: image})
            taken[at].append(time.process_time() - began)
    return [1000 * float(np.median(values[2:])) for values in taken]


def measure(folder: Path, name: str, rounds: int) -> None:
    """Print the row of one network."""
    side, build = NETWORKS[name]
    torch.manual_seed(0)
    network = build()
    for part in network.modules():
        if type(part).__name__ == "StochasticDepth":
            part.p = 0.0  # batch norms are fitted to what runs in the end
    images = photographs(side)
    lively(network, side, torch.from_numpy(images))
    spread_answers(network, torch.from_numpy(images))
    with torch.inference_mode():
        expected = softmax(network(torch.from_numpy(images)).numpy())
    script, batch, logits = (folder / file for file in ("n.pt", "i.npy", "l.npy"))
    script.write_bytes(traced_bytes(network, side))
    np.save(batch, images)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(script), str(batch), str(logits)],
        capture_output=True,
        text=True,
        check=True,
    )
    exported = session(export.to_onnx(network, side))
    archive = torch_files.read_torchscript(io.BytesIO(script.read_bytes()))
    translated = session(traced.translate(archive, side).data)
    ours = np.abs(softmax(np.load(logits)) - expected).max()
    theirs = np.abs(softmax(exported.run(None, {"images": images})[0]) - expected).max()
    one, other = milliseconds([translated, exported], images[:1], rounds)
    print(
        f"| {name} | {expected.max(1).min():.2f} | {ours:.1e} | {theirs:.1e} "
        f"| {float(done.stdout):.2f} | {one:.1f} | {other:.1f} | {one / other:.2f} |",
        flush=True,
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    rounds, names = vars(parser.parse_args()).values()
    warnings.simplefilter("ignore")  # of TorchScript's end
    print("| network | least largest probability | difference | of torch's export | s to translate | ms | of torch's export | ratio |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            measure(Path(folder), name, rounds)


if __name__ == "__main__":
    main()
