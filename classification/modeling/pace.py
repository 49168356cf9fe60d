"""How fast a training run goes, and how long it will take.

Time spent is measured apart for steps that learn and for looking at the other splits, since
a run is made of both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_FIRST_S, _GROWTH, _MOST_S = 10.0, 2.0, 600.0


@dataclass(kw_only=True)
class Pace:
    """Measures a run; the only clock of training.

    Attributes:
        epochs: most epochs of the run.
        steps: of an epoch.
    """

    epochs: int
    steps: int
    _step_s: float = 0.0
    _steps_done: int = 0
    _other_s: float = 0.0
    _others_done: int = 0
    _mark: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)
    _wait_s: float = _FIRST_S

    def lap(self) -> float:
        """Returns the seconds since the last lap."""
        now = time.monotonic()
        passed, self._mark = now - self._mark, now
        return passed

    def stepped(self) -> None:
        """Counts a step that learned, which took the time since the last lap."""
        self._step_s += self.lap()
        self._steps_done += 1

    def looked(self) -> None:
        """Counts what follows the steps of an epoch, likewise."""
        self._other_s += self.lap()
        self._others_done += 1

    def left_s(self, epoch: int, step: int) -> float:
        """Returns the seconds that are left if all epochs run.

        Until the first epoch is over, what follows it counts as a quarter of its time.

        Args:
            epoch: number of the current one, from 0.
            step: number of its steps that are done.
        """
        if not self._steps_done:
            return 0.0
        per_step = self._step_s / self._steps_done
        epochs_left = self.epochs - epoch
        steps_left = max(0, epochs_left * self.steps - step)
        other = 0.25 * per_step * self.steps
        if self._others_done:
            other = self._other_s / self._others_done
        return steps_left * per_step + epochs_left * other

    def is_time_to_tell(self) -> bool:
        """Says so ten seconds after the start, and then ever more rarely."""
        now = time.monotonic()
        if now - self._said < self._wait_s:
            return False
        self._said = now
        self._wait_s = min(_MOST_S, self._wait_s * _GROWTH)
        return True


def readable(seconds: float) -> str:
    """Returns a length of time as a person says it: ``2 h 05 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min" if minutes >= 10 else f"{minutes} min {rest:02} s"  # noqa: PLR2004 - then seconds tell little
