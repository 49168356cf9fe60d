from __future__ import annotations

import io
from typing import TYPE_CHECKING

from classification.runtime import progress

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_shown_without_a_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress.track("abc", total=3, unit="letters")) == ["a", "b", "c"]
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_a_terminal_shows_the_count_and_the_noun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    assert len(list(progress.track(range(7), total=7, unit="images"))) == 7
    assert "7/7" in screen.getvalue()
    assert "images" in screen.getvalue()


def test_a_bar_goes_on_from_where_an_earlier_run_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with progress.bar(10, unit="images", initial=4) as shown:
        shown.update(6)
    assert "4/10" in screen.getvalue()
    assert "10/10" in screen.getvalue()
