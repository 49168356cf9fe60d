"""Kills long steps at any moment, changes an input, and gives the same line again."""

from __future__ import annotations

import csv
import gzip
import json
import os
import queue
import random
import re
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from onnx.external_data_helper import set_external_data

from classification.artifacts import crop_record
from classification.modeling import manifest
from tests import classifiers, world
from tests.classifiers import save_exported
from tests.detection.detectors.graphs import brightness_detector
from tests.sweeps import Outcome, forking, long_steps
from tests.web import serving_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.sweeps.forking import Server
    from tests.sweeps.long_steps import Step

TRIALS = 8  # of each change of each case
NETWORK_TRIALS = 3  # where a network learns, which takes seconds
SERVERS = 2
TRIES = 6  # to kill a run before it ends
IMAGE = "images/idfg/site2/IMG_0002.jpg"
CHECKPOINT = "trained/run/ckpt_0.pt"
BOX_WEIGHTS, CLASS_WEIGHTS = "detector_v7.bin", "classifier.bin"


def missing() -> str:
    """Says what this machine lacks."""
    return "" if hasattr(os, "fork") else "no fork here"


# What is changed


@dataclass(frozen=True)
class Change:
    """A change of one input.

    Attributes:
        what: the input, as the figures call it.
        apply: changes it, given ``in``; files there are links, so it writes new ones.
        keeps_size: the file is as long as before.
    """

    what: str
    apply: Callable[[Path], object]
    keeps_size: bool = False


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def _another_picture(inputs: Path, name: str) -> None:
    path = inputs / name
    path.unlink(missing_ok=True)
    world.save_jpeg(path, world.photograph(150, 110, seed=777))


def _another_bit(inputs: Path, name: str, place: int = -40) -> None:
    data = bytearray((inputs / name).read_bytes())
    data[place] ^= 0x10
    _write(inputs / name, bytes(data))


def _other_numbers(inputs: Path, name: str) -> None:
    numbers = np.frombuffer((inputs / name).read_bytes(), np.float32)
    _write(inputs / name, (numbers[::-1] * np.float32(1.25)).tobytes())


def _edit(inputs: Path, name: str, edit: Callable[[Any], object]) -> None:
    document = json.loads((inputs / name).read_bytes())
    edit(document)
    _write(inputs / name, json.dumps(document).encode())


def _swap(inputs: Path, name: str, old: str, new: str, count: int = -1) -> None:
    text = (inputs / name).read_text(encoding="utf-8")
    assert old in text, (name, old)
    _write(inputs / name, text.replace(old, new, count).encode())


def _remove(inputs: Path, name: str) -> None:
    (inputs / name).unlink()


def _first_crop(inputs: Path, folder: str) -> str:
    """Returns a crop near the beginning of a folder."""
    found = sorted(path for path in (inputs / folder).rglob("*.jpg"))
    return found[1].relative_to(inputs).as_posix()


def _of_crop(
    change: Callable[[Path, str], object], folder: str
) -> Callable[[Path], object]:
    return lambda inputs: change(inputs, _first_crop(inputs, folder))


def _a_crop_more(inputs: Path, folder: str) -> None:
    name = _first_crop(inputs, folder)
    shutil.copy(inputs / name, inputs / name.replace("IMG_", "IMA_"))


def _move_box(document: Any) -> None:  # noqa: ANN401 - JSON
    document["images"][2]["detections"][0]["bbox"][0] += 0.0625


def _less_sure(document: Any) -> None:  # noqa: ANN401 - JSON
    for image in document["images"][:3]:
        image["detections"][0]["conf"] = 0.0625


def _another_detector(document: Any) -> None:  # noqa: ANN401 - JSON
    document["info"]["detector"] = "detector_v8"


def _relabel(inputs: Path, name: str) -> None:
    """Gives an image of the metadata store another label."""
    table = pq.read_table(inputs / name)
    at = table.schema.get_field_index("labels")
    labels = table["labels"].to_pylist()
    labels[0], labels[1] = labels[1], labels[0]
    values = pa.chunked_array([pa.array(labels, table.schema.field(at).type)])
    changed = table.set_column(at, table.schema.field(at), values)
    assert not pc.all(pc.equal(table["file"], changed["file"])).as_py() or labels
    (inputs / name).unlink()
    pq.write_table(changed, inputs / name)


def _calibrate(inputs: Path) -> None:
    path = manifest.path_beside(inputs / "classifier.onnx")
    _write(path, path.read_bytes())  # no link any more
    classifiers.calibrate(inputs / "classifier.onnx", temperature=2.0)


def _retrain(inputs: Path) -> None:
    """Writes another classifier under the same name."""
    for path in (inputs / "classifier.onnx", inputs / "classifier.manifest.json"):
        path.unlink()
    model = onnx.load_from_string(classifiers.tiny_onnx(len(long_steps.LABELS)))
    weights = model.graph.initializer[0]
    numbers = onnx.numpy_helper.to_array(weights)[::-1]
    weights.CopyFrom(onnx.numpy_helper.from_array(numbers.copy(), weights.name))
    save_exported(
        inputs / "classifier.onnx", model.SerializeToString(), long_steps.LABELS
    )


def _reverse(document: dict[str, str]) -> None:
    names = list(document.values())[::-1]
    document.update(zip(list(document), names, strict=True))


def _rename_label(inputs: Path, name: str) -> None:
    """Gives the first crop of a training set another label."""
    path = inputs / name
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    rows[1][-1] = next(row[-1] for row in rows[1:] if row[-1] != rows[1][-1])
    path.unlink()
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _move_location(document: dict[str, list[list[str]]]) -> None:
    document["val"], document["test"] = document["test"], document["val"]


def _other_probabilities(inputs: Path, name: str) -> None:
    lines = gzip.decompress((inputs / name).read_bytes()).decode().splitlines()
    path, *numbers = lines[1].split(",")
    lines[1] = ",".join([path, *numbers[::-1]])
    _write(inputs / name, gzip.compress(("\n".join(lines) + "\n").encode()))


PICTURES = [
    Change("image", lambda inputs: _another_picture(inputs, IMAGE)),
    Change("image", lambda inputs: _another_bit(inputs, IMAGE), keeps_size=True),
    Change("image", lambda inputs: _remove(inputs, IMAGE)),
]
DETECTOR = [
    Change(
        "external weights",
        lambda inputs: _other_numbers(inputs, BOX_WEIGHTS),
        keeps_size=True,
    ),
    Change(
        "model",
        lambda inputs: brightness_detector(
            _unlinked(inputs / "detector_v7.onnx"), category="animal", side=16
        ),
    ),
]
BOXES = [
    Change("box", lambda inputs: _edit(inputs, "detections.json", _move_box)),
    Change("box", lambda inputs: _edit(inputs, "detections.json", _less_sure)),
    Change(
        "detector of boxes",
        lambda inputs: _edit(inputs, "detections.json", _another_detector),
    ),
]
CLASSIFIER = [
    Change(
        "external weights",
        lambda inputs: _other_numbers(inputs, CLASS_WEIGHTS),
        keeps_size=True,
    ),
    Change("model", _retrain),
    Change("calibration", _calibrate),
]
SET = [
    Change("label", lambda inputs: _rename_label(inputs, "run/classification_ds.csv")),
    Change(
        "label index", lambda inputs: _edit(inputs, "run/label_index.json", _reverse)
    ),
    Change("split", lambda inputs: _edit(inputs, "run/splits.json", _move_location)),
]
QUERIED = Change(
    "queried images",
    lambda inputs: _edit(
        inputs, "run/queried_images.json", lambda images: images.popitem()
    ),
)
WEIGHTS = Change(
    "model", lambda inputs: _another_bit(inputs, CHECKPOINT, -2000), keeps_size=True
)


def _unlinked(path: Path) -> Path:
    path.unlink()
    return path


def _crops(folder: str) -> list[Change]:
    return [
        Change("crop", _of_crop(_another_picture, folder)),
        Change("crop", _of_crop(_another_bit, folder), keeps_size=True),
        Change("crop", _of_crop(_remove, folder)),
    ]


@dataclass(frozen=True)
class Case:
    """A step, and what may change under it.

    Attributes:
        step: see ``long_steps``.
        changes: of its inputs.
        further: words that are added to its line.
        latest: latest moment of the kill, in parts of the time that the step takes.
    """

    step: Step
    changes: Sequence[Change]
    further: str = ""
    latest: float = 0.95

    @property
    def line(self) -> str:
        """Returns the line of its first run."""
        return f"{self.step.line} {self.further}".strip()


def _step(name: str) -> Step:
    return long_steps.STEPS[name]


def _in_file(name: str, old: str, new: str, what: str) -> Change:
    return Change(what, lambda inputs: _swap(inputs, name, old, new, 1))


_TRAIN = _step("train_classifier")
_FEW_CROPS = _crops("crops")
CASES: dict[str, Case] = {
    "run_detector_batch": Case(_step("run_detector_batch"), [*PICTURES, *DETECTOR]),
    "run_detector_batch --shard": Case(
        _step("run_detector_batch"), [*PICTURES[:2], DETECTOR[0]], "--shard 1/2", 1.5
    ),
    "crop_detections": Case(
        # The crop of an image that is gone stays, and is said.
        _step("crop_detections"),
        [*PICTURES[:2], *BOXES],
        "--remove-orphans",
    ),
    "run_classifier": Case(
        _step("run_classifier"),
        [
            *_crops("cut"),
            *CLASSIFIER,
            Change("crop", partial(_a_crop_more, folder="cut")),
        ],
    ),
    "run_classifier --detections-json": Case(
        _step("run_classifier"),
        [*_crops("cut")[:2], *BOXES],
        "--detections-json in/detections.json",
    ),
    "run_classifier --shard": Case(
        _step("run_classifier"), [*_crops("cut")[:2], CLASSIFIER[0]], "--shard 1/2", 1.5
    ),
    "detect_and_crop": Case(
        _step("detect_and_crop"),
        [*PICTURES[:2], *DETECTOR, QUERIED],
        "--remove-orphans",
    ),
    "download_images": Case(
        _step("download_images"),
        [
            PICTURES[0],
            _in_file("list.txt", "IMG_0003", "IMG_0004", "list"),
        ],
        "--verify",
    ),
    "train_classifier": Case(_TRAIN, [*_FEW_CROPS, *SET], latest=0.8),
    "train_classifier --folds": Case(
        _TRAIN, [_FEW_CROPS[1], SET[0]], "--folds 2", latest=0.8
    ),
    "train_classifier --pretrained": Case(
        _TRAIN, [WEIGHTS], f"--pretrained in/{CHECKPOINT}", latest=0.8
    ),
    "import_metadata": Case(
        _step("import_metadata"), [_in_file("labels.csv", "deer", "bird", "metadata")]
    ),
    "json_validator": Case(
        _step("json_validator"),
        [
            _in_file("spec.json", "cervidae", "aves", "specification"),
            _in_file("taxonomy.csv", "cervidae", "bovidae", "taxonomy"),
            Change("metadata", lambda inputs: _relabel(inputs, "megadb/idfg.parquet")),
        ],
    ),
    "create_classification_dataset": Case(
        _step("create_classification_dataset"),
        [
            QUERIED,
            Change(
                "cached detections",
                lambda inputs: _edit(inputs, "mdcache/v7/idfg.json", _less_sure),
            ),
            _FEW_CROPS[2],
        ],
    ),
    "cache_batchapi_outputs": Case(
        _step("cache_batchapi_outputs"), BOXES[:2], "--overwrite"
    ),
    "aggregate_classifier_probs": Case(
        _step("aggregate_classifier_probs"),
        [
            Change("probabilities", lambda i: _other_probabilities(i, "o.csv.gz")),
            _in_file("mapping.json", '"animal"', '"beast"', "target mapping"),
        ],
    ),
    "merge_classification_detection_output": Case(
        _step("merge_classification_detection_output"),
        [
            *BOXES,
            Change("probabilities", lambda i: _other_probabilities(i, "o.csv.gz")),
            Change("label index", lambda i: _edit(i, "label_index.json", _reverse)),
        ],
    ),
    "evaluate_model": Case(
        _step("evaluate_model"), [_FEW_CROPS[0], SET[0], SET[2], WEIGHTS]
    ),
    "export_model": Case(_step("export_model"), [WEIGHTS]),
}
FEW = (  # cases of a tenth
    *("run_detector_batch", "crop_detections", "run_classifier", "detect_and_crop"),
    *("run_classifier --detections-json", "run_classifier --shard", "json_validator"),
    "merge_classification_detection_output",
)


# The world


def draw(base: Path) -> None:
    """Writes what no step makes into ``in``: models whose answers show any change."""
    long_steps.draw(base)
    inputs = base / "in"
    brightness_detector(
        inputs / "detector_v7.onnx", category="animal", weights=BOX_WEIGHTS, side=24
    )
    model = onnx.load_from_string(classifiers.tiny_onnx(len(long_steps.LABELS)))
    weights = model.graph.initializer[0]
    (inputs / CLASS_WEIGHTS).write_bytes(weights.raw_data)
    set_external_data(weights, CLASS_WEIGHTS)
    weights.ClearField("raw_data")
    save_exported(
        inputs / "classifier.onnx", model.SerializeToString(), long_steps.LABELS
    )


# Trials


@dataclass(frozen=True)
class End:
    """How a run ended, and what it left.

    Attributes:
        code: its exit code.
        said: on stderr.
        left: content by name.
    """

    code: int
    said: str
    left: Mapping[str, bytes]

    def is_refusal(self) -> bool:
        """Says whether it ended with one line that says why."""
        lines = [line for line in self.said.splitlines() if line.startswith("error: ")]
        return self.code == 1 and len(lines) == 1 and "Traceback" not in self.said


@dataclass
class Bench:
    """Where steps run.

    Attributes:
        server: runs them.
        base: holds ``in``.
        web: address of ``base``.
        number: of this bench.
        count: folders that were made.
    """

    server: Server
    base: Path
    web: str
    number: int
    count: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def prepare(self) -> Path:
        """Makes a folder whose ``in`` is all links; returns its ``out``."""
        self.count += 1
        place = self.base / "runs" / f"{self.number}-{self.count}"
        (place / "out").mkdir(parents=True)
        shutil.copytree(self.base / "in", place / "in", copy_function=os.link)
        return place / "out"

    def start(self, case: Case, out: Path) -> forking.Child:
        line = case.line
        if case.step.again:
            again = case.step.again(out)
            line = case.line if again == case.step.line else again
        place = out.parent
        url = f"{self.web}/runs/{place.name}/in/images"
        return long_steps.start(
            self.server, line.replace("URL", url), place, place / "said"
        )

    def end(self, case: Case, out: Path) -> End:
        """Runs a line to its end."""
        child = self.start(case, out)
        code = self.server.wait(child)
        return End(code, child.said, left(out))

    def fresh(self, case: Case, change: Change | None = None) -> End:
        """Runs a case in a world of its own."""
        out = self.prepare()
        if change is not None:
            change.apply(out.parent / "in")
        found = self.end(case, out)
        shutil.rmtree(out.parent)
        return found

    def time(self, name: str, case: Case) -> float:
        """Returns how long a case takes."""
        if name not in self.seconds:
            began = time.monotonic()
            end = self.fresh(case)
            if end.code:
                raise RuntimeError(f"{name} ended with {end.code}: {end.said}")
            self.seconds[name] = time.monotonic() - began
        return self.seconds[name]


def left(out: Path) -> dict[str, bytes]:
    """Returns what a step has left, without times, by name."""
    found = {}
    for name, content in long_steps.artifacts(out).items():
        # No artifact. A temporary file stays where the new inputs give its crop no more.
        if name.endswith((".lock", ".tmp")):
            continue
        if name.endswith(".images.jsonl.gz"):
            lines = gzip.decompress(content)
            found[name] = re.sub(rb',?"modified":\d+', b"", lines)
        else:
            found[name] = content
    return found


def _are_of_one(found: bytes, fresh: bytes) -> bool:
    """Says whether two crops have the same pixels, and records that do not differ.

    A record may know a digest that another does not: an edited file of boxes has no record
    of its detector any more, but the crops that were cut before have.
    """
    records = [crop_record.find(data) for data in (found, fresh)]
    if records[0] is None or records[1] is None:
        return False
    plain = [
        data.replace(b"\xff\xfe%b%b" % ((len(text) + 2).to_bytes(2, "big"), text), b"")
        for data, record in zip((found, fresh), records, strict=True)
        if (text := crop_record.encode(record))
    ]
    return plain[0] == plain[1] and not crop_record.difference(records[0], records[1])


def _agree(name: str, found: bytes | None, fresh: bytes | None) -> bool:
    """Says whether a file is that of a fresh run.

    A detection cache may hold more images, and a folder of fetched images more files.
    """
    is_record = "mdcache/" in name and name.endswith(".gz")
    if fresh is None and (name.startswith("saved/") or is_record):
        return True  # of answers that stayed, more may be known
    if found == fresh or found is None or fresh is None:
        return found == fresh
    if name.endswith(".jpg"):
        return _are_of_one(found, fresh)
    if "mdcache/" not in name:
        return False
    if name.endswith(".gz"):  # the first line has the digest of the cache
        return set(fresh.splitlines()[1:]) <= set(found.splitlines()[1:])
    more, fewer = json.loads(found), json.loads(fresh)
    images = more.pop("images")
    return all(one in images for one in fewer.pop("images")) and more == fewer


def _try(
    bench: Bench, name: str, change: Change, fresh: End, chance: random.Random
) -> tuple[str, str]:
    """Kills a run, changes its input, and gives the line again; returns the verdict."""
    case = CASES[name]
    moment = chance.uniform(0.05, case.latest) * bench.time(name, case)
    out = bench.prepare()
    for _ in range(TRIES):
        shutil.rmtree(out.parent)
        out = bench.prepare()
        child = bench.start(case, out)
        time.sleep(moment)
        child.kill()
        was_killed = bench.server.wait(child) == -signal.SIGKILL
        if was_killed or case.latest > 1:
            break
        moment /= 2  # it was faster
    change.apply(out.parent / "in")
    end = bench.end(case, out)
    told = "killed" if was_killed else "ended"
    different = sorted(
        path
        for path in end.left.keys() | fresh.left.keys()
        if not _agree(path, end.left.get(path), fresh.left.get(path))
    )
    if end.code == fresh.code and not different:
        verdict, sentence = "same", ""
    elif end.is_refusal():
        verdict, sentence = "refused", ""
    else:
        verdict = "mixed"
        sentence = (
            f"{name}, {told}, then another {change.what}: ended with {end.code} instead "
            f"of {fresh.code}; {different} differ; {end.said[-500:]!r}"
        )
    if verdict != "mixed":
        shutil.rmtree(out.parent)
    return f"{told} {verdict}", sentence


def run(share: float, folder: Path) -> Outcome:
    """Tries each change of each case a number of times."""
    names = [name for name in CASES if share == 1 or name in FEW]
    pairs = [(name, change) for name in names for change in CASES[name].changes]
    with forking.serving() as server:
        long_steps.make(server, folder, with_network=share == 1, draw=draw)
    waiting: queue.SimpleQueue[tuple[str, Change]] = queue.SimpleQueue()
    # The slowest first, so that no worker is left alone with them.
    for pair in sorted(pairs, key=lambda one: not CASES[one[0]].step.needs_network):
        waiting.put(pair)
    counts: Counter[str] = Counter()
    broken: list[str] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        with forking.serving() as server:
            bench = Bench(server, folder, web.url, number)
            while True:
                try:
                    name, change = waiting.get_nowait()
                except queue.Empty:
                    return
                fresh = bench.fresh(CASES[name], change)
                slow = CASES[name].step.needs_network
                trials = NETWORK_TRIALS if slow else TRIALS
                for trial in range(max(1, round(trials * share))):
                    chance = random.Random(f"{name} {change} {trial}")
                    verdict, sentence = _try(bench, name, change, fresh, chance)
                    with lock:
                        counts[verdict] += 1
                        counts["keeps size"] += change.keeps_size
                        broken.extend([sentence] if sentence else [])

    with serving_folder(folder) as web, ThreadPoolExecutor(SERVERS) as pool:
        list(pool.map(work, range(SERVERS)))
    verdicts = {
        verdict: counts[f"killed {verdict}"] + counts[f"ended {verdict}"]
        for verdict in ("same", "refused", "mixed")
    }
    return Outcome(
        figures={
            "steps, in their ways of running": len(names),
            "kinds of inputs that were changed": len({c.what for _, c in pairs}),
            "trials": sum(verdicts.values()),
            "of them killed in the middle": sum(
                counts[f"killed {verdict}"] for verdict in verdicts
            ),
            "of them with a change that keeps the size": counts["keeps size"],
            "ends of a fresh run on the new inputs": verdicts["same"],
            "refused in one line": verdicts["refused"],
            "mixed": verdicts["mixed"],
        },
        broken=broken,
    )
