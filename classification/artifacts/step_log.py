"""``<step>_log_<YYYYmmdd_HHMMSS>.json``: how one run of a step went.

Written by every step that works item by item; read by people and by
``analyze_failed_images``. The only artifact that holds the clock::

    {
     "step": "crop_detections",
     "version": "0.1.0",
     "started": "2026-11-22 20:47:15",
     "seconds": 12.3,
     "options": {"threshold": 0.8},
     "counts": {"images": 100, "crops": 61},
     "failures": [{"item": "a/b.jpg", "reason": "truncated"}],
     "notes": [{"item": "c.tif", "reason": "16-bit pixels reduced to 8"}],
     "images_failed_download_or_crop": ["a/b.jpg"]
    }

The first eight keys are the same in every log; a step adds the keys that its original
wrote (the last line above). Two runs within one second get two files (``…_2.json``). The
log of a shard has its place in its name, ``<step>.shard-003-of-010_log_…json``, and in its
options, ``"shard": "3/10"``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from classification.artifacts import _json
from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from classification.runtime.shards import Shard

TIMESTAMP = "%Y%m%d_%H%M%S"


@dataclass(kw_only=True)
class StepLog:
    """What a running step writes down; the one mutable record of this package.

    Attributes:
        step: name of the command.
        options: the options that shape the result; never a token or a URL's query.
        failures: (item, reason) of each item that failed.
        notes: (item, remark) of each item that was read in an unusual way.
        counts: what was done, by name.
        extra: further top-level keys, as the original's log had them.
        shard: the part of the step that this run is; None for all of it.
    """

    step: str
    options: Mapping[str, Any] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    shard: Shard | None = None
    started: float = field(default_factory=time.time)

    def to_dict(self) -> dict[str, Any]:
        """Returns the document to write; failures and notes sorted by item."""
        return {
            "step": self.step,
            "version": version("cameratraps-classifier"),
            "started": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started)),
            "seconds": round(time.time() - self.started, 1),
            "options": {**self.options, **self._part()},
            "counts": dict(self.counts),
            "failures": _items(self.failures),
            "notes": _items(self.notes),
            **self.extra,
        }

    def _part(self) -> dict[str, str]:
        return {"shard": str(self.shard)} if self.shard else {}


def _items(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"item": item, "reason": reason} for item, reason in sorted(pairs)]


def write(folder: Path, log: StepLog) -> Path:
    """Writes the log into ``folder`` under a name of its own; returns its path."""
    step = f"{log.step}.{log.shard.mark}" if log.shard else log.step
    stem = f"{step}_log_{time.strftime(TIMESTAMP, time.localtime(log.started))}"
    path = _claim(folder, stem)
    _json.write_object(path, log.to_dict())
    return path


def _claim(folder: Path, stem: str) -> Path:
    """Makes an empty file of a name that no other run has, and returns its path."""
    path, number = folder / f"{stem}.json", 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                number += 1
                path = folder / f"{stem}_{number}.json"
            else:
                return path
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
