"""How long a run will take."""

from __future__ import annotations

import pytest

from classification.modeling.pace import Pace, readable


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 min 00 s"),
        (59.6, "1 min 00 s"),
        (599, "9 min 59 s"),
        (3540, "59 min"),
        (7500, "2 h 05 min"),
        (400_000, "111 h 06 min"),
    ],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert readable(seconds) == said


def test_what_is_left_is_steps_and_what_follows_epochs() -> None:
    pace = Pace(epochs=3, steps=10)
    assert pace.left_s(0, 0) == 0
    pace._step_s, pace._steps_done = 20.0, 10
    assert pace.left_s(0, 10) == pytest.approx(20 * 2 + 3 * 5)
    pace._other_s, pace._others_done = 8.0, 2
    assert pace.left_s(1, 4) == pytest.approx(16 * 2 + 2 * 4)
    assert pace.left_s(3, 0) == 0


def test_epochs_of_the_whole_network_are_guessed_while_the_last_layer_learns() -> None:
    pace = Pace(epochs=5, steps=10, head_epochs=2)
    pace.begin(0)
    pace._step_s, pace._steps_done = 1.0, 10
    whole = 3 * 10 * 3 * 1.25  # epochs, steps, passes, what follows
    assert pace.left_s(0, 10) == pytest.approx(1 + 2 * 0.25 + whole * 0.1)
    pace._mark -= 40
    pace.computed(20)
    assert pace.left_s(1, 0) == pytest.approx(1 + 0.25 + whole * 2, rel=0.1)
    assert pace.left_s(2, 0) == pytest.approx(whole * 2, rel=0.1)
    pace.begin(2)
    assert pace.left_s(2, 0) == 0  # until a step of this kind is done
    pace._step_s, pace._steps_done = 30.0, 10
    pace.begin(3)
    assert pace.left_s(3, 0) == pytest.approx(2 * 30 * 1.25)


def test_what_is_left_is_known_while_features_are_computed() -> None:
    pace = Pace(epochs=2, steps=10, head_epochs=2)
    pace._mark -= 12
    assert pace.computing_left_s(4, 6) == pytest.approx(18, rel=0.1)
    pace.head_epochs = 1
    assert pace.computing_left_s(4, 6) == pytest.approx(18 + 10 * 3 * 3.75, rel=0.1)


def test_time_is_counted_from_the_last_lap() -> None:
    pace = Pace(epochs=1, steps=2)
    pace._mark -= 5
    pace.stepped()
    pace._mark -= 7
    pace.looked()
    assert pace._step_s == pytest.approx(5, abs=1)
    assert pace._other_s == pytest.approx(7, abs=1)


def test_it_tells_ever_more_rarely() -> None:
    pace = Pace(epochs=1, steps=1)
    assert not pace.is_time_to_tell()
    pace._said -= 11
    assert pace.is_time_to_tell()
    pace._said -= 11
    assert not pace.is_time_to_tell()
    pace._said -= 11
    assert pace.is_time_to_tell()
