"""A long step that is disturbed again and again, and what is found after each time."""

from __future__ import annotations

import itertools
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.sweeps import long_steps

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from tests.sweeps.forking import Child, Server
    from tests.sweeps.long_steps import Step

# What a step writes several times, each time whole.
MAY_CHANGE = r"logs/run/|measured/|mdcache/|datasets\.json"


class StepBench:
    """A step, what it leaves undisturbed, and a folder for each time it is disturbed.

    Attributes:
        name: of the step.
        step: the step.
        server: runs it.
        seconds: that it takes undisturbed.
    """

    def __init__(  # noqa: PLR0913 - what a step runs in
        self,
        server: Server,
        name: str,
        step: Step,
        base: Path,
        url: str,
        *,
        root: Path = Path("/"),
    ) -> None:
        """Names the places.

        Args:
            server: runs it.
            name: of the step.
            step: the step.
            base: holds ``in``.
            url: of the images below ``in``.
            root: where all that the server sees can be seen from here.
        """
        self.name = name
        self.step = step
        self.server = server
        self.seconds = 0.0
        self._base = base
        self._url = url
        self._root = root
        self._numbers = itertools.count()
        self._whole: dict[str, bytes] = {}

    def prepare(self) -> Path:
        """Makes a folder for a trial; returns what is ``out`` to the step."""
        place = self._base / "runs" / self.name / str(next(self._numbers))
        return long_steps.prepare(place, self._base)

    def seen(self, out: Path) -> Path:
        """Returns where we see what is ``out`` to the step."""
        return self._root / out.relative_to("/")

    def start(
        self, out: Path, *, suffix: str = "", scratch: Path | None = None
    ) -> Child:
        """Starts a run, which goes on where one was ended before it.

        Args:
            out: where it writes.
            suffix: tells it from another that runs at the same time.
            scratch: folder of its temporary files, if not the usual one.
        """
        line = self.step.again(self.seen(out)) if self.step.again else self.step.line
        return long_steps.start(
            self.server,
            line.replace("URL", self._url),
            out.parent,
            out.parent / f"said{suffix}",
            scratch=scratch,
        )

    def run_undisturbed(self, out: Path) -> None:
        """Notes what the step leaves, and how long it takes."""
        began = time.monotonic()
        child = self.start(out)
        if code := self.server.wait(child):
            raise RuntimeError(f"{self.name} ended with {code}: {child.said}")
        self.seconds = time.monotonic() - began
        self._whole = long_steps.artifacts(self.seen(out))

    def kept(self, out: Path) -> int | None:
        """Returns how many units of work need not be done again; None if it has none."""
        return self.step.kept(self.seen(out)) if self.step.kept else None

    def find_torn(self, out: Path, counts: Counter[str]) -> Iterator[str]:
        """Says which artifacts are neither missing nor whole."""
        for name, content in long_steps.artifacts(self.seen(out)).items():
            if name not in self._whole and not name.startswith("logs/run/ckpt"):
                continue  # a journal, a lock, a temporary file
            is_final = content == self._whole.get(name)
            may_change = re.search(MAY_CHANGE, name)
            if not is_final and not (may_change and long_steps.is_whole(name, content)):
                counts["artifacts torn"] += 1
                yield f"{self.name}: {name} is torn"

    def end(self, out: Path, kept: int | None, counts: Counter[str]) -> Iterator[str]:
        """Lets a run end, and compares what there is with an undisturbed run.

        Args:
            out: where it writes.
            kept: how many units of work were done before; None if that is not known.
            counts: is added to.
        """
        child = self.start(out)
        code = self.server.wait(child)
        counts["ends"] += 1
        found = long_steps.artifacts(self.seen(out))
        different = sorted(
            name
            for name in self._whole.keys() | found.keys()
            if found.get(name) != self._whole.get(name)
        )
        counts["ends identical"] += code == 0 and not different
        if code:
            yield f"{self.name}: ended with {code} at last: {child.said}"
        elif different:
            yield f"{self.name}: {different} differ at last"
        elif kept is not None and self.step.taken_over:
            log = long_steps.newest_log(self.seen(out))
            over = self.step.taken_over(log, child.said)
            counts["units done"] += kept
            counts["units again"] += max(0, kept - over)
            if over < kept:
                yield f"{self.name}: {kept} units were done, {over} were taken over"
