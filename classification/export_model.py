"""Makes a model that runs anywhere of a training checkpoint.

A checkpoint holds weights without their network. An exported model holds both, and beside
it stands a manifest (MODEL.manifest.json) that says the rest: labels, input size and
normalisation, where it comes from, and how far its logits are from those of the network
in float32. The name of OUTPUT says which kind is written:

.onnx  runs without torch and faster; the one to use
.pt    TorchScript, for programs made for the original's models

What the checkpoint itself does not say, such as one of the original pipeline, is taken
from params.json and label_index.json in its folder, and from the dataset_dir of
params.json; the options come before all of them.

Reads   ckpt_N.pt             of train_classifier, or of the original
        params.json           of the run, if it is there
        label_index.json      names of the outputs, if the checkpoint does not say
Writes  OUTPUT and its manifest

Example:
    python export_model.py run/20261122_204715/ckpt_14.pt deer.onnx deer_compiled.pt
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from classification.artifacts import kinds, label_index, run_params
from classification.modeling import manifest, provenance
from classification.modeling.catalog import Padding
from classification.runtime import cli, locking, outputs
from classification.runtime.errors import ArtifactError, ConfigurationError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from classification.artifacts.run_params import RunParams
    from classification.modeling.checkpoints import Checkpoint
    from classification.modeling.export import ModelFacts

_logger = logging.getLogger(__name__)


class Arguments(argparse.Namespace):
    """What the command line says, typed."""

    checkpoint: Path
    output: list[Path]
    params_json: Path | None
    label_index: Path | None
    model_name: str | None
    image_size: int | None
    padding: Padding | None
    overwrite: bool
    verbose: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is said of the network; None where the checkpoint's files say it.

    Attributes:
        params_json: what its run was told.
        label_index: names of its outputs.
        model_name: its architecture.
        image_size: side of its input in pixels.
        padding: of an EfficientNet.
    """

    params_json: Path | None = None
    label_index: Path | None = None
    model_name: str | None = None
    image_size: int | None = None
    padding: Padding | None = None


def build_parser() -> argparse.ArgumentParser:
    """Declares the command line."""
    parser = cli.Parser("export_model", __doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of train_classifier")
    parser.add_argument(
        "output",
        type=outputs.Output(files=_written, parse=_model_path),
        nargs="+",
        help="file to write, .onnx or .pt (TorchScript); two of one folder need two "
        "stems, as each has a manifest",
    )
    parser.add_argument(
        "--params-json",
        type=Path,
        help="what the run was told (default: params.json beside the checkpoint)",
    )
    parser.add_argument(
        "--label-index",
        type=Path,
        help="label index JSON: names of the outputs (default: the checkpoint's own, "
        "else label_index.json beside it or in the run's dataset_dir)",
    )
    parser.add_argument(
        "-m",
        "--model-name",
        help="architecture, such as efficientnet-b3 (default: the checkpoint's)",
    )
    parser.add_argument(
        "--image-size",
        type=_side,
        help="side of the input in pixels (default: the run's)",
    )
    parser.add_argument(
        "--padding",
        choices=get_args(Padding),
        help="of an EfficientNet's convolutions (default: the checkpoint's; one that "
        "does not say is the original's, symmetric)",
    )
    return parser


def _written(path: Path, _: Arguments) -> outputs.Files:
    return {path: kinds.MODEL, manifest.path_beside(path): kinds.MANIFEST}


def _model_path(text: str) -> Path:
    if not text.endswith(manifest.SUFFIXES):
        raise argparse.ArgumentTypeError(f"{text} ends neither in .onnx nor in .pt")
    return Path(text)


def _side(text: str) -> int:
    side = cli.positive_int(text)
    if not manifest.LEAST_SIDE <= side <= manifest.MOST_SIDE:
        raise argparse.ArgumentTypeError(
            f"{side} is not between {manifest.LEAST_SIDE} and {manifest.MOST_SIDE}"
        )
    return side


def run(checkpoint: Path, outputs: Sequence[Path], *, options: Options) -> None:
    """Exports a network.

    Raises:
        ModelError: the checkpoint is damaged, no plain data, or of another network, or
            an export computes something else.
        ArtifactError: the run's parameters or the label index break their format.
        ConfigurationError: nobody says the architecture or the labels, or their number
            is not the network's.
    """
    from classification.modeling import checkpoints, export  # noqa: PLC0415 - import torch

    saved = checkpoints.read(checkpoint)
    params = _read_params(checkpoint, options.params_json)
    facts = export.ModelFacts(
        architecture=_architecture(checkpoint, saved, params, options),
        labels=_labels(checkpoint, saved, params, options),
        image_size=options.image_size
        or saved.image_size
        or (params.image_size if params else None),
        padding=options.padding or saved.padding,
        provenance=provenance.of_checkpoint(checkpoint, saved, params),
    )
    network = _network(checkpoint, saved, facts)
    for output in outputs:
        calibrated = _is_calibrated(output)
        with locking.exclusive(output):
            _tell(output, export.export(network, output, facts))
        if calibrated:
            _logger.warning(
                "%s was calibrated and is no longer; calibrate_classifier does it again",
                output,
            )


def _read_params(checkpoint: Path, given: Path | None) -> RunParams | None:
    path = given or checkpoint.with_name(run_params.FILENAME)
    return run_params.read(path) if given or path.exists() else None


def _architecture(
    checkpoint: Path, saved: Checkpoint, params: RunParams | None, options: Options
) -> str:
    name = options.model_name or saved.architecture or (params and params.model_name)
    if not name:
        raise ConfigurationError(
            f"{checkpoint} does not say its architecture, and {run_params.FILENAME} is "
            "not beside it; give --params-json or --model-name"
        )
    return name


def _labels(
    checkpoint: Path, saved: Checkpoint, params: RunParams | None, options: Options
) -> tuple[str, ...]:
    if options.label_index is not None:
        return label_index.read(options.label_index)
    if saved.labels is not None:
        return saved.labels
    folders = [checkpoint.parent] + ([Path(params.dataset_dir)] if params else [])
    for folder in folders:
        if (path := folder / label_index.FILENAME).exists():
            return label_index.read(path)
    raise ConfigurationError(
        f"{checkpoint} does not say its labels, and {label_index.FILENAME} is not in "
        f"{' or '.join(map(str, folders))}; give --label-index"
    )


def _network(checkpoint: Path, saved: Checkpoint, facts: ModelFacts) -> nn.Module:
    from classification.modeling import networks  # noqa: PLC0415 - imports torch

    try:
        network = networks.build(
            facts.architecture,
            len(facts.labels),
            image_size=facts.side,
            padding=facts.padding,
        )
        outputs = networks.outputs_of(network, saved.model)
        if outputs is not None and outputs != len(facts.labels):
            raise ConfigurationError(
                f"{checkpoint} has {outputs} outputs, but there are "
                f"{len(facts.labels)} labels; give --label-index"
            )
        networks.load_weights(network, saved.model)
    except ModelError as error:
        raise ModelError(f"{checkpoint}: {error}") from error
    return network


def _is_calibrated(output: Path) -> bool:
    """Says whether a model that will be written over was calibrated."""
    try:
        return manifest.read(manifest.path_beside(output)).calibration is not None
    except ArtifactError:
        return False


def _tell(output: Path, described: manifest.Manifest) -> None:
    parity = described.parity
    _logger.info(
        "wrote %s and %s: %s, %d labels, %d pixels; logits differ from those of %s by "
        "%s of their range",
        output,
        manifest.path_beside(output).name,
        described.architecture,
        len(described.labels),
        described.image_size,
        parity.against if parity else "the network",
        parity.largest_difference if parity else "?",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = cli.parse(build_parser(), Arguments(), argv)
    return cli.exit_code(
        run,
        args.checkpoint,
        args.output,
        options=Options(
            params_json=args.params_json,
            label_index=args.label_index,
            model_name=args.model_name,
            image_size=args.image_size,
            padding=args.padding,
        ),
    )


if __name__ == "__main__":
    raise SystemExit(main())
