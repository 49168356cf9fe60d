from __future__ import annotations

import pytest

from classification.runtime.name_set import NameSet
from detection import filling


@pytest.mark.parametrize(
    ("done", "left"),
    [
        ([], (["a", "b", "c"], 0)),
        (["a", "b"], (["a", "b", "c"], 2)),  # cut off: same batches as before
        (["b"], (["a", "c"], 0)),  # the list has changed since
        (["a", "b", "c"], (["a", "b", "c"], 3)),
    ],
)
def test_what_is_left_is_detected_in_the_batches_of_an_undisturbed_run(
    done: list[str], left: tuple[list[str], int]
) -> None:
    assert filling._what_is_left(["a", "b", "c"], NameSet(done)) == left


@pytest.mark.parametrize(
    ("model", "version"), [("default", "lite-20220528"), ("/x/md_v4.1.0.pb", "4.1")]
)
def test_the_version_of_a_model(model: str, version: str) -> None:
    assert filling.version_of(model) == version
