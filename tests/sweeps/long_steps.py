"""A small world, and the steps that take long in a large one, each ready to be run in it.

What a step reads is below ``in``, what it writes below ``out``, both below the folder
that it is run in, so that a step may be run in many folders at once.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.artifacts import label_index
from tests import world
from tests.classifiers import save_exported
from tests.detection.detectors.graphs import constant_detector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.sweeps.forking import Child, Server

IMAGES = 48
SITES = 8
LABELS = ("bird", "deer")
SPEC = "output_label,type,content\ndeer,family,cervidae\nbird,class,aves\n"

DETECT = "detection.run_detector_batch in/detector_v7.onnx in/images"
RELATIVE = "--recursive --output_relative_filenames --threshold 0.1 --batch_size 2"
QUERY = "classification.json_validator in/spec.json in/taxonomy.csv --megadb in/megadb"
TABLE = "--mode csv splits -c in/crops -d in/mdcache -v 7 --threshold 0.4 --val-frac 0.25 --test-frac 0.25"
TRAIN = "-m timm/test_resnet --image-size 32 --batch-size 8 --lr 0.02 --seed 1 --device cpu --num-workers 1"
CACHE = "--detector in/detector_v7.onnx --images-dir in/images --batch-size 2"
IMPORT = "classification.import_metadata in/labels.csv --dataset idfg --columns file=file,label=species,location=camera"
CSV = "in/o.csv.gz in/label_index.json"

# What makes ``in``, beside what is drawn.
MAKING = f"""
{IMPORT} --megadb in/megadb --logdir logs
classification.csv_to_json in/spec.csv in/spec.json
{QUERY} --output-dir in/run
classification.detect_and_crop in/run/queried_images.json logs -c in/mdcache {CACHE} --run-detector --cropped-images-dir in/crops --threshold 0.4
classification.create_classification_dataset in/run {TABLE} --queried-images-json in/run/queried_images.json --logdir logs
{DETECT} in/detections.json {RELATIVE} --logdir logs
classification.crop_detections in/detections.json in/cut --images-dir in/images --threshold 0.1 --logdir logs
classification.run_classifier in/classifier.onnx in/cut in/o.csv.gz --detections-json in/detections.json --logdir logs
""".strip().splitlines()
TRAINING = f"classification.train_classifier in/run in/crops {TRAIN} --epochs 1 --logdir in/trained"


@dataclass(frozen=True)
class Step:
    """A step, and how far a run of it has come.

    Attributes:
        line: its module and arguments.
        kept: given ``out``, how many units of work will not be done again; None for a
            step that is done at once.
        taken_over: given a step's log and what it said, how many units it found done.
        again: given ``out``, the line that goes on where a run was ended, if another.
        needs_network: it trains, or reads what training wrote, which takes long to make.
    """

    line: str
    kept: Callable[[Path], int] | None = None
    taken_over: Callable[[Mapping[str, Any], str], int] | None = None
    again: Callable[[Path], str] | None = None
    needs_network: bool = False


def lines_in(name: str) -> Callable[[Path], int]:
    """Returns what counts the whole records of a journal."""

    def count(out: Path) -> int:
        path = out / name
        text = path.read_bytes() if path.exists() else b""
        return max(0, text.count(b"\n") - 1)

    return count


def files_below(name: str) -> Callable[[Path], int]:
    """Returns what counts the images below a folder."""

    def count(out: Path) -> int:
        return sum(
            path.suffix == ".jpg" and not path.name.startswith(".")
            for path in (out / name).rglob("*")
        )

    return count


def counted(name: str) -> Callable[[Mapping[str, Any], str], int]:
    """Returns what reads a count of a step's log."""
    return lambda log, _: int(log["counts"][name])


def _crops_said(_: Mapping[str, Any], said: str) -> int:
    found = re.search(r"going on after (\d+) crops", said)
    return -(-int(found[1]) // 2) if found else 0


def _run_folder(out: Path) -> Path | None:
    return next((path.parent for path in out.glob("logs/*/params.json")), None)


def _resume(out: Path) -> str:
    folder = _run_folder(out)
    if folder is None:
        return STEPS["train_classifier"].line
    place = folder.relative_to(out.parent)
    return f"classification.train_classifier --resume {place} --device cpu --num-workers 1 --save-steps 1"


def _steps_saved(out: Path) -> int:
    from classification.modeling import resuming  # noqa: PLC0415 - torch

    folder = _run_folder(out)
    saved = resuming.read(folder) if folder else None
    return saved.steps_trained if saved else 0


def _steps_before(log: Mapping[str, Any], _: str) -> int:
    counts = log["counts"]
    return int(counts["steps"]) - int(counts["steps_of_this_run"])


STEPS = {
    "run_detector_batch": Step(
        f"{DETECT} out/detections.json {RELATIVE}",
        kept=lines_in("detections.json.journal"),
        taken_over=counted("images_of_earlier_runs"),
    ),
    "crop_detections": Step(
        "classification.crop_detections in/detections.json out/crops --images-dir in/images --threshold 0.1 --threads 2 --logdir out",
        kept=files_below("crops"),
        taken_over=counted("crops_existing"),
    ),
    "run_classifier": Step(
        "classification.run_classifier in/classifier.onnx in/cut out/o.csv.gz --batch-size 2 --logdir out",
        kept=lines_in("o.csv.gz.journal"),
        taken_over=_crops_said,
    ),
    "detect_and_crop": Step(
        f"classification.detect_and_crop in/run/queried_images.json out -c out/mdcache {CACHE} --run-detector --cropped-images-dir out/crops --threshold 0.4",
        kept=files_below("crops"),
        taken_over=counted("crops_existing"),
    ),
    "download_images": Step(
        "classification.download_images txt in/list.txt out/saved --base-url URL --threads 2 --logdir out",
        kept=files_below("saved"),
        taken_over=counted("images_existing"),
    ),
    "train_classifier": Step(
        f"classification.train_classifier in/run in/crops {TRAIN} --epochs 2 --save-steps 1 --logdir out/logs",
        kept=_steps_saved,
        taken_over=_steps_before,
        again=_resume,
        needs_network=True,
    ),
    "import_metadata": Step(f"{IMPORT} --megadb out/megadb --logdir out"),
    "json_validator": Step(f"{QUERY} --output-dir out"),
    "create_classification_dataset": Step(
        f"classification.create_classification_dataset out {TABLE} --queried-images-json in/run/queried_images.json"
    ),
    "cache_batchapi_outputs": Step(
        "classification.cache_batchapi_outputs in/detections.json -d idfg -c out/mdcache -v 7 --remove-prefix idfg/ --logdir out"
    ),
    "aggregate_classifier_probs": Step(
        "classification.aggregate_classifier_probs in/o.csv.gz --target-mapping in/mapping.json --output-csv out/targets.csv.gz --output-label-index out/targets.json"
    ),
    "merge_classification_detection_output": Step(
        f"classification.merge_classification_detection_output {CSV} --output-json out/merged.json --classifier-name tiny --threshold 0.05 --detection-json in/detections.json"
    ),
    "evaluate_model": Step(
        "classification.evaluate_model in/trained/run/params.json in/trained/run/ckpt_0.pt -o out/measured --splits train val test --device cpu",
        needs_network=True,
    ),
    "export_model": Step(
        "classification.export_model in/trained/run/ckpt_0.pt out/model.onnx",
        needs_network=True,
    ),
}


def draw(base: Path) -> None:
    """Writes what no step makes into ``in``."""
    inputs = base / "in"
    names = [f"idfg/site{n % SITES}/IMG_{n:04}.jpg" for n in range(IMAGES)]
    for number, name in enumerate(names):
        scene = world.photograph(160, 120, seed=number)
        world.save_jpeg(inputs / "images" / name, scene)
    with (inputs / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "species", "camera"])
        for number, name in enumerate(names):
            species = ("bird", "deer", "elk")[number % 3]
            table.writerow([name.removeprefix("idfg/"), species, number % SITES])
    (inputs / "list.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (inputs / "spec.csv").write_text(SPEC, encoding="utf-8")
    world.write_taxonomy(inputs / "taxonomy.csv", world.DEER_AND_BIRDS)
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (20, 32, 16, 24, 0.9, 1, 0, 0)  # an animal
    output[1] = (44, 32, 16, 16, 0.8, 1, 0, 0)  # another
    constant_detector(inputs / "detector_v7.onnx", output)
    save_exported(inputs / "classifier.onnx", labels=LABELS)
    label_index.write(inputs / "label_index.json", LABELS)
    mapping = {"animal": list(LABELS)}
    (inputs / "mapping.json").write_text(json.dumps(mapping), encoding="utf-8")


def make(
    server: Server,
    base: Path,
    *,
    with_network: bool,
    draw: Callable[[Path], None] = draw,
) -> None:
    """Makes ``in`` in a folder; ``draw`` writes what no step makes."""
    draw(base)
    for number, line in enumerate([*MAKING, TRAINING][: None if with_network else -1]):
        child = start(server, line, base, base / f"making{number}.err")
        if code := server.wait(child):
            raise RuntimeError(f"{line} ended with {code}: {child.said}")
    for trained in (base / "in/trained").glob("2*"):
        trained.rename(base / "in/trained/run")


def prepare(folder: Path, base: Path) -> Path:
    """Makes a folder in which steps find ``in``; returns its ``out``."""
    out = folder / "out"
    out.mkdir(parents=True)
    (folder / "in").symlink_to(base / "in")
    return out


def start(
    server: Server, line: str, folder: Path, stderr: Path, scratch: Path | None = None
) -> Child:
    """Starts a step in a folder."""
    name, *words = line.split()
    return server.start(
        *("tests.sweeps.forking", "command", name, words),
        folder=folder,
        stderr=stderr,
        scratch=scratch,
    )


def artifacts(out: Path) -> dict[str, bytes]:
    """Returns what a step has left, but for what holds the clock, by name.

    The folder of a training run has the time for a name, which its model card shows.
    """
    found = {}
    run = _run_folder(out)
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not re.search(
            r"_log_\d|events\.out|crop_cache|\.crops\.sqlite", name
        ):
            content = path.read_bytes()
            if run is not None:
                name = name.replace(run.name, "run")
                shown = run.name.replace("_", "\\_").encode()
                content = content.replace(shown, b"run")
            found[name] = content
    return found


def is_whole(name: str, content: bytes) -> bool:
    """Says whether a file can be read to its end, as far as its format tells."""
    suffix = name.rpartition(".")[2]
    try:
        if suffix in {"pt", "npz"}:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                return archive.testzip() is None
        if suffix == "gz":
            return bool(gzip.decompress(content))
        if suffix == "json":
            return json.loads(content) is not None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        return False
    ends = {"jpg": b"\xff\xd9", "parquet": b"PAR1"}
    return suffix == "onnx" or content.endswith(ends.get(suffix, b"\n"))


def newest_log(out: Path) -> dict[str, Any]:
    """Returns what the last step log says."""
    path = max(out.rglob("*_log_*.json"), key=lambda path: path.stat().st_mtime_ns)
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document
