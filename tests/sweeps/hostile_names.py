"""Names that would lead elsewhere, through every step that writes by names of a file.

Each name goes through each step beside a sound one. Before and after, everything outside
of the folders that the step may write is compared, and what lay in these before.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.artifacts import label_index, predictions
from classification.artifacts.predictions import Evaluated
from tests.commands import command
from tests.sweeps import Outcome
from tests.sweeps.hostile_name_list import ALIKE, NAMES, OUTSIDE
from tests.web import serving_folder
from tests.world import jpeg_bytes, photograph, write_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DETECTOR = "md"
_SOUND = "ok/a.jpg"
_LABELS = ("bear", "deer")
# Folders that steps write into, each with links and victims in it.
_ROOTS = ("crops", "saved", "lists", "cache", "megadb", "logdir", "container")
_BODIES = [jpeg_bytes(photograph(64, 48, seed=seed)) for seed in range(4)]


@dataclass
class Place:
    """A folder that a step runs in, with what it must not touch beside it.

    Attributes:
        base: holds ``work``, where the step runs, and ``outside``.
    """

    base: Path

    @property
    def work(self) -> Path:
        return self.base / "work"

    @property
    def outside(self) -> Path:
        return self.base / "outside"

    def make(self) -> None:
        """Makes everything anew."""
        shutil.rmtree(self.base, ignore_errors=True)
        (self.outside / "outside").mkdir(parents=True)
        for name in ("evil.jpg", "outside/evil.jpg", "kept.jpg"):
            (self.outside / name).write_bytes(_BODIES[3])
        for root in _ROOTS:
            self._make_root(self.work / root)
        self.put_image(_SOUND, _BODIES[0])

    def _make_root(self, root: Path) -> None:
        (root / "deep").mkdir(parents=True)
        (root / "link").symlink_to(self.outside)
        (root / "deep/link").symlink_to(self.outside)
        (root / "up").symlink_to("../..")
        (root / "round").symlink_to("round")
        (root / "file").write_bytes(b"a file")
        (root / "victim.jpg").write_bytes(b"a victim")
        os.mkfifo(root / "pipe.jpg")
        for end in ("", f"___crop00_{_DETECTOR}.jpg", "___crop00.jpg"):
            (root / f"linked.jpg{end}").symlink_to(self.outside / "nothing_yet.jpg")

    def put_image(self, name: str, body: bytes) -> None:
        """Puts an image where the name means one, if that is possible inside."""
        if "\0" in name or ".." in name.split("/") or name.startswith("/"):
            return
        path = self.work / "images" / name
        with contextlib.suppress(OSError, ValueError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_bytes(body)

    def spell(self, name: str) -> str:
        return name.replace(OUTSIDE, str(self.outside))


@dataclass(frozen=True)
class Step:
    """A command that writes files after the names that it reads.

    Attributes:
        prepare: writes the names into the command's input; returns its words.
        writes: folders that it may write into.
        find: tells where it puts an image; None for steps that write no images.
    """

    prepare: Callable[[Place, Sequence[str]], str]
    writes: tuple[str, ...]
    find: Callable[[str], str] | None = None


def _write_json(place: Place, document: Any, name: str = "in.json") -> None:  # noqa: ANN401 - JSON
    (place.work / name).write_text(json.dumps(document), encoding="utf-8")


_BOX = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.5]}


def _detections(names: Sequence[str], detector: str = _DETECTOR) -> dict[str, Any]:
    return {
        "info": {"detector": detector, "format_version": "1.3"},
        "detection_categories": {"1": "animal"},
        "images": [{"file": name, "detections": [_BOX]} for name in names],
    }


def _crop(place: Place, names: Sequence[str]) -> str:
    _write_json(place, _detections(names))
    return (
        "classification.crop_detections in.json crops --images-dir images --logdir logs"
    )


def _crop_and_keep(place: Place, names: Sequence[str]) -> str:
    _write_json(place, _detections(names))
    return (
        "classification.crop_detections in.json crops --images-dir saved --base-url URL "
        "--save-full-images --tries 1 --logdir logs"
    )


def _crop_by_detector(place: Place, names: Sequence[str]) -> str:
    _write_json(place, _detections([_SOUND], detector=names[-1]))
    return (
        "classification.crop_detections in.json crops --images-dir images --logdir logs"
    )


def _queried(names: Sequence[str], datasets: Sequence[str] = ()) -> dict[str, Any]:
    box = {"category": "animal", "bbox": _BOX["bbox"]}
    entry = {"class": "elk", "label": ["deer"], "bbox": [box]}
    images = {f"ok/{name}": {**entry, "dataset": "ok"} for name in names}
    return images | {f"{one}/a.jpg": {**entry, "dataset": one} for one in datasets}


_HARVEST = (
    "classification.detect_and_crop in.json logs -c cache -v 1 --images-dir images "
    "--cropped-images-dir crops"
)


def _detect_and_crop(place: Place, names: Sequence[str]) -> str:
    _write_json(place, _queried(["a.jpg", *names[1:]]))
    return _HARVEST


def _detect_and_crop_dataset(place: Place, names: Sequence[str]) -> str:
    _write_json(place, _queried(["a.jpg"], names[1:]))
    return _HARVEST


def _download_text(place: Place, names: Sequence[str]) -> str:
    text = "\n".join(names) + "\n"
    (place.work / "in.txt").write_bytes(text.encode("utf-8", "surrogatepass"))
    return "classification.download_images txt in.txt saved --images-dir images --logdir logs"


def _download_saved_as(place: Place, names: Sequence[str]) -> str:
    entries = [{"file": _SOUND, "name": name} for name in names]
    _write_json(place, entries)
    return (
        "classification.download_images json in.json saved --save-key name "
        "--images-dir images --logdir logs"
    )


def _download_json(place: Place, names: Sequence[str]) -> str:
    _write_json(place, [{"file": name} for name in names])
    return (
        "classification.download_images json in.json saved --save-key file "
        "--images-dir images --logdir logs --check-existing-dir images"
    )


def _list_for_azcopy(place: Place, names: Sequence[str]) -> str:
    _write_json(place, _queried(["a.jpg"], names[1:]))
    return "classification.json_to_azcopy_list in.json lists --images-dir nowhere"


def _identify(place: Place, names: Sequence[str]) -> str:
    folder = place.work / "logdir"
    label_index.write(folder / label_index.FILENAME, _LABELS)
    batch = Evaluated(
        [f"{name}/x.jpg___crop00.jpg" for name in names],
        ["bear"] * len(names),
        np.ones(len(names), np.float32),
        np.array([[0.1, 0.9]] * len(names), np.float32),
    )
    path = folder / predictions.outputs_name("test")
    with contextlib.suppress(UnicodeEncodeError):
        predictions.write_evaluated(path, _LABELS, [batch])
    return "classification.identify_mislabeled_candidates logdir --splits test"


def _save_mislabeled(place: Place, names: Sequence[str]) -> str:
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    rows = [f"a.jpg,{name},true,elk" for name in quoted]
    text = "\n".join(["File,RelativePath,mislabeled,correct_class", *rows, ""])
    (place.work / "in.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    return "classification.save_mislabeled container in.csv"


def _cache(place: Place, names: Sequence[str]) -> str:
    _write_json(place, _detections(names))
    return (
        "classification.cache_batchapi_outputs in.json --dataset ok -c cache -v 1 "
        "--logdir logs"
    )


def _import_lila(place: Place, names: Sequence[str]) -> str:
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    rows = [
        f"{name},https://example.org/{number}/a.jpg,{number},elk"
        for number, name in enumerate(quoted)
    ]
    text = "\n".join(["dataset_name,url_gcp,image_id,original_label", *rows, ""])
    (place.work / "in.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    return "classification.import_metadata in.csv --format lila --megadb megadb --logdir logs"


def _import_coco(place: Place, names: Sequence[str]) -> str:
    document = {
        "images": [{"id": str(n), "file_name": name} for n, name in enumerate(names)],
        "annotations": [],
        "categories": [],
    }
    _write_json(place, document)
    return (
        "classification.import_metadata in.json --megadb megadb --dataset ok "
        "--logdir logs --format coco"
    )


def _read_store(place: Place, names: Sequence[str]) -> str:
    shutil.rmtree(place.work / "megadb")
    write_store(place.work / "megadb", {"ok": [{"file": "a.jpg"}]})
    path = place.work / "megadb/datasets.json"
    entry = json.loads(path.read_text())["ok"]
    path.write_text(json.dumps({"ok": entry, names[-1]: entry}))
    return "classification.import_metadata --list --megadb megadb"


STEPS = {
    "crop_detections": Step(
        _crop, ("crops", "logs"), lambda n: f"crops/{n}___crop00_{_DETECTOR}.jpg"
    ),
    "crop_detections --save-full-images": Step(
        _crop_and_keep, ("crops", "saved", "logs"), lambda n: f"saved/{n}"
    ),
    "crop_detections, the detector": Step(_crop_by_detector, ("crops", "logs")),
    "detect_and_crop": Step(
        _detect_and_crop,
        ("crops", "cache", "logs"),
        lambda n: f"crops/ok/{n}___crop00.jpg",
    ),
    "detect_and_crop, the dataset": Step(
        _detect_and_crop_dataset, ("crops", "cache", "logs")
    ),
    "download_images txt": Step(
        _download_text, ("saved", "logs"), lambda n: f"saved/{n}"
    ),
    "download_images json": Step(
        _download_json, ("saved", "logs"), lambda n: f"saved/{n}"
    ),
    "download_images json --save-key": Step(_download_saved_as, ("saved", "logs")),
    "json_to_azcopy_list": Step(_list_for_azcopy, ("lists",)),
    "identify_mislabeled_candidates": Step(_identify, ("logdir",)),
    "save_mislabeled": Step(_save_mislabeled, ("container",)),
    "cache_batchapi_outputs": Step(_cache, ("cache", "logs")),
    "import_metadata, LILA": Step(_import_lila, ("megadb", "logs")),
    "import_metadata, COCO": Step(_import_coco, ("megadb", "logs")),
    "import_metadata --list": Step(_read_store, ("megadb",)),
}


@dataclass
class _Tally:
    """What was seen so far."""

    codes: Counter[int] = field(default_factory=Counter)
    written_outside: int = 0
    overwritten: int = 0
    refused_pairs: int = 0
    broken: list[str] = field(default_factory=list)


def missing() -> str:
    """Says what this machine lacks."""
    return "" if hasattr(os, "mkfifo") else "pipes and links as Linux has them"


def run(share: float, folder: Path) -> Outcome:
    """Gives a share of the names to each step."""
    tally = _Tally()
    place = Place(folder / "place")
    every = max(1, round(1 / share))
    for number, (label, step) in enumerate(STEPS.items()):
        for name, _ in NAMES[number % every :: every]:
            _try(place, label, step, [_SOUND, place.spell(name)], tally)
    pairs = ALIKE[:: min(every, len(ALIKE) // 2)]
    for label, step in STEPS.items():
        if step.find is not None:
            for pair in pairs:
                _try_alike(place, label, step, pair, tally)
    figures = {
        "names": len(NAMES[::every]),
        "pairs of names that a disk may take for one": len(pairs),
        "steps": len(STEPS),
        "runs": tally.codes.total(),
        "ended with 0, 1 or 4": sum(tally.codes[code] for code in (0, 1, 4)),
        "files written, changed or removed outside": tally.written_outside,
        "files overwritten": tally.overwritten,
        "second names of a pair refused, with the first": tally.refused_pairs,
    }
    return Outcome(figures=figures, broken=tally.broken)


def _try(
    place: Place, label: str, step: Step, names: Sequence[str], tally: _Tally
) -> str:
    """Runs a step on some names; returns what it said."""
    place.make()
    for number, name in enumerate(names[1:], start=1):
        place.put_image(name, _BODIES[number])
        place.put_image(f"ok/{name}", _BODIES[number])
        place.put_image(f"{name}/a.jpg", _BODIES[number])
    words = step.prepare(place, names)
    before = _look(place.base)
    with serving_folder(place.work / "images") as web:
        code, said = _ended(place.work, words.replace("URL", web.url))
    after = _look(place.base)
    what = f"{label} < {names[-1][:60]!r}"
    tally.codes[code] += 1
    if code not in (0, 1, 4) or "Traceback" in said:
        tally.broken.append(f"{what}: exit code {code}: {said[-300:]!r}")
    changed = {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)}
    roots = tuple(f"work/{root}/" for root in step.writes) + tuple(
        f"work/{root}" for root in step.writes
    )
    outside = sorted(p for p in changed if not p.startswith(roots))
    tally.written_outside += len(outside)
    tally.broken += [f"{what}: {path[:100]} was written" for path in outside]
    lost = sorted(p for p in changed if p in before and p not in outside)
    lost = [p for p in lost if p.endswith((".jpg", "/file")) and p != "work/megadb"]
    tally.overwritten += len(lost)
    tally.broken += [f"{what}: {path[:100]} was overwritten" for path in lost]
    return said


def _look(base: Path) -> dict[str, str | bytes]:
    """Returns what is at each path below a folder: a file's bytes, a link's target."""
    found: dict[str, str | bytes] = {}
    for folder, folders, files in os.walk(base):
        for name in (*folders, *files):
            path = os.path.join(folder, name)  # noqa: PTH118 - a name may be anything
            mode = os.lstat(path).st_mode
            shown = os.path.relpath(path, base)
            if stat.S_ISLNK(mode):
                found[shown] = f"link to {os.readlink(path)}"  # noqa: PTH115 - as above
            elif stat.S_ISREG(mode):
                found[shown] = Path(path).read_bytes()
            else:
                found[shown] = f"{stat.filemode(mode)}"
    return found


def _ended(folder: Path, words: str) -> tuple[int, str]:
    """Runs a command in a folder; returns its exit code and what it said."""
    name, *arguments = words.split()
    said = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stderr(said),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            code = int(command(name).main(arguments))
        except SystemExit:
            code = 2
    return code, said.getvalue()


def _try_alike(
    place: Place, label: str, step: Step, pair: tuple[str, str], tally: _Tally
) -> None:
    """Sees that of two names that a disk may take for one, the second is refused."""
    if step.find is None:
        return
    said = _try(place, label, step, [_SOUND, *pair], tally)
    first, second = pair
    what = f"{label} < {first!r}, {second!r}"
    logs = [json.loads(p.read_bytes()) for p in (place.work / "logs").glob("*_log_*")]
    failures = {f["item"]: f["reason"] for log in logs for f in log["failures"]}
    own = next((r for item, r in failures.items() if item.endswith(second)), "")
    if first not in own.encode().decode() and repr(first)[1:-1] not in own:
        tally.broken.append(
            f"{what}: the second is not listed with the first: {said!r}"
        )
    else:
        tally.refused_pairs += 1
    written = place.work / step.find(first)
    if not written.is_file():
        tally.broken.append(f"{what}: the first was not written")
