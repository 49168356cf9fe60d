"""How fast a training run goes, and how long it will take.

Time spent is measured apart for steps that learn and for looking at the other splits, since
a run is made of both, and anew where the whole network begins to learn.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_FIRST_S, _GROWTH, _MOST_S = 10.0, 2.0, 600.0
# What follows the steps of an epoch, as a share of their time, until it was measured.
_OTHER = 0.25
# Teaching a network takes so many times as long as asking it: the way back through it is
# twice the way there.
_PASSES = 3.0


@dataclass(kw_only=True)
class Pace:
    """Measures a run; the only clock of training.

    Attributes:
        epochs: most epochs of the run.
        steps: of an epoch.
        head_epochs: so many epochs at the beginning train only the last layer.
    """

    epochs: int
    steps: int
    head_epochs: int = 0
    _step_s: float = 0.0
    _steps_done: int = 0
    _other_s: float = 0.0
    _others_done: int = 0
    _is_of_head: bool = False
    _pass_s: float = 0.0
    _mark: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)
    _wait_s: float = _FIRST_S

    def lap(self) -> float:
        """Returns the seconds since the last lap."""
        now = time.monotonic()
        passed, self._mark = now - self._mark, now
        return passed

    def begin(self, epoch: int) -> None:
        """Begins the steps of an epoch."""
        is_of_head = epoch < self.head_epochs
        if self._is_of_head and not is_of_head:
            self._step_s, self._steps_done = 0.0, 0
            self._other_s, self._others_done = 0.0, 0
        self._is_of_head = is_of_head
        self.lap()

    def computed(self, steps: int) -> None:
        """Notes how long steps took that computed features, all since the last lap."""
        self._pass_s = self.lap() / max(1, steps)

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
        Where only the last layer learns as yet, the others are guessed (see ``_PASSES``).

        Args:
            epoch: number of the current one, from 0.
            step: number of its steps that are done.
        """
        if not self._steps_done:
            return 0.0
        per_step = self._step_s / self._steps_done
        other = _OTHER * per_step * self.steps
        if self._others_done:
            other = self._other_s / self._others_done
        to_come = self._whole_epochs(epoch) if self._is_of_head else 0
        epochs_left = self.epochs - epoch - to_come
        steps_left = max(0, epochs_left * self.steps - step)
        guessed = to_come * self._guess_s(self._pass_s or per_step)
        return steps_left * per_step + epochs_left * other + guessed

    def computing_left_s(self, done: int, left: int) -> float:
        """Returns the seconds that are left while features are computed.

        Epochs of the last layer alone, which take seconds then, count as nothing.

        Args:
            done: steps since the last lap, at least 1.
            left: further ones, of all splits.
        """
        pass_s = (time.monotonic() - self._mark) / done
        return left * pass_s + self._whole_epochs(0) * self._guess_s(pass_s)

    def _whole_epochs(self, epoch: int) -> int:
        """Returns how many of the epochs from one on teach the whole network."""
        return max(0, self.epochs - max(epoch, self.head_epochs))

    def _guess_s(self, pass_s: float) -> float:
        """Returns the seconds of an epoch of the whole network, not seen as yet."""
        return (1 + _OTHER) * self.steps * _PASSES * pass_s

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
