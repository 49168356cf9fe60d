"""A writer that is disturbed again and again, and what is found after each time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.sweeps import injecting, writers

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

    from tests.sweeps.forking import Child, Server
    from tests.sweeps.injecting import Point
    from tests.sweeps.writers import Writer


@dataclass(frozen=True)
class Trial:
    """A folder in which a writer is disturbed.

    Attributes:
        folder: the folder.
        before: what is in its files before.
        child: writes into it.
    """

    folder: Path
    before: dict[str, bytes]
    child: Child


class Bench:
    """A writer, what it writes undisturbed, and a folder for each time it is disturbed."""

    def __init__(self, server: Server, name: str, writer: Writer, folder: Path) -> None:
        self._server = server
        self._name = name
        self._writer = writer
        self._folder = folder
        self._numbers = itertools.count()
        writer.prepare(folder / "whole", [])
        writer.write(folder / "whole")
        self._whole = writers.contents(folder / "whole")

    def prepare(self, *, is_new: bool = False) -> Trial:
        """Makes a folder and holds a child before it begins to write.

        Args:
            is_new: there are no files yet that it replaces.
        """
        folder = self._folder / str(next(self._numbers))
        olds = self._whole if self._writer.replaces and not is_new else ()
        self._writer.prepare(folder, olds)
        child = self._server.start(
            *("tests.sweeps.writers", "write", self._name, str(folder)),
            folder=folder.parent,
            stderr=folder.with_suffix(".err"),
            is_held=True,
        )
        return Trial(folder, writers.contents(folder), child)

    def points(self) -> list[Point]:
        """Returns the calls at which it can be disturbed."""
        trial = self.prepare()
        return injecting.points(self._server, trial.child, trial.folder)

    def meet(self, trial: Trial, point: Point, fault: str) -> int:
        """Disturbs the child of a trial; returns its exit code."""
        return injecting.meet(self._server, trial.child, point, fault)

    def is_done(self, trial: Trial) -> bool:
        """Says whether all is written."""
        found = writers.contents(trial.folder)
        return all(found.get(name) == whole for name, whole in self._whole.items())

    def judge(self, trial: Trial, counts: Counter[str], how: str) -> Iterator[str]:
        """Says what is wrong in a folder, and after another run."""
        found = writers.contents(trial.folder)
        for name, whole in self._whole.items():
            if not self._is_sound(found.get(name), trial.before.get(name), whole):
                counts["torn"] += 1
                yield f"{self._name}: {name} is torn or lost, {how}"
        self._writer.write(trial.folder)
        found = writers.contents(trial.folder)
        for name, whole in self._whole.items():
            if found.get(name) != whole:
                counts["different"] += 1
                yield f"{self._name}: {name} differs after another run, {how}"
        for name in sorted(set(found) - set(self._whole)):
            if "/." not in f"/{name}":
                continue  # another log
            counts["left"] += 1
            yield f"{self._name}: {name} is left after another run, {how}"

    def _is_sound(
        self, found: bytes | None, before: bytes | None, whole: bytes
    ) -> bool:
        if self._writer.grows and found is not None:
            return whole.startswith(found)
        return found in {before, whole}
