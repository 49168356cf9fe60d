"""Crops are shown, or it is said why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.reports import evaluated
from classification.reports.crop_album import Album, thumbs
from classification.storage.local import LocalStore
from tests import results_world

if TYPE_CHECKING:
    from pathlib import Path


def test_a_crop_that_is_gone_has_a_reason(tmp_path: Path) -> None:
    world = results_world.make(tmp_path, crops={"test": 6})
    answers = evaluated.read(world.logdir()).answers["test"]
    names = list(answers.names)
    (world.crops / names[1]).unlink()
    (world.crops / names[2]).write_bytes(b"hello")
    album = Album(names, LocalStore(world.crops))
    assert album.gone == 2
    found = [thumbs(answers, None, album)(place) for place in range(3)]
    assert found[0].picture is not None
    assert [one.reason for one in found] == [
        "",
        "no such file",
        "not an image file",
    ]
    assert found[0].true == answers.labels[answers.true[0]]
    [said] = found[0].said
    assert said.is_right == bool(answers.right[0])
    assert said.probability == float(answers.guesses.confidence[0])


def test_without_a_folder_nothing_is_shown(tmp_path: Path) -> None:
    world = results_world.make(tmp_path, crops={"test": 2}, pictures=False)
    answers = evaluated.read(world.logdir()).answers["test"]
    album = Album(list(answers.names), None)
    one = thumbs(answers, None, album)(0)
    assert (one.picture, one.location, album.gone) == (None, "", 0)
    assert one.reason == "where the crops are is not known"
