"""What the crops of a run hold: noted, written, read, compared."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from classification.dataset import training_set
from classification.modeling import known_crops
from classification.runtime.errors import ArtifactError, ConfigurationError
from classification.storage.local import LocalStore
from tests import training_world

if TYPE_CHECKING:
    from pathlib import Path

    from classification.dataset.training_set import TrainingSet


class CountingStore(LocalStore):
    """Counts what is read."""

    loads = 0

    def load(self, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - as its base
        self.loads += 1
        return super().load(name)


@pytest.fixture
def data(tmp_path: Path) -> TrainingSet:
    training_world.make(tmp_path)
    return training_set.read(tmp_path / "run")


def test_a_record_has_what_was_noted(data: TrainingSet, tmp_path: Path) -> None:
    missing = data.splits["val"].paths[2]
    (tmp_path / "crops" / missing).unlink()
    noted = known_crops.note(data, LocalStore(tmp_path / "crops"), threads=2)
    known_crops.write(tmp_path, data, noted, sha256="x")
    found = known_crops.read(tmp_path, data, sha256="x")
    assert found is not None
    assert (found.digests == noted.digests).all()
    assert noted.get(int(data.splits["val"].numbers[2])) is None
    assert [noted.get(row) for row in range(48)] == [found.get(n) for n in range(48)]
    known_crops.refuse_changed(data, noted, found)
    with pytest.raises(ArtifactError, match=r"of another classification_ds\.csv"):
        known_crops.read(tmp_path, data, sha256="y")


def test_there_may_be_no_record(data: TrainingSet, tmp_path: Path) -> None:
    assert known_crops.read(tmp_path, data, sha256="x") is None


def test_bytes_are_compared_where_size_or_time_differ(
    data: TrainingSet, tmp_path: Path
) -> None:
    store = CountingStore(tmp_path / "crops")
    noted = known_crops.note(data, store)
    assert store.loads == 48
    paths = data.splits["test"].paths
    os.utime(tmp_path / "crops" / paths[0], ns=(1, 1))  # copied, say
    again = known_crops.note(data, store, known=noted)
    assert store.loads == 49
    known_crops.refuse_changed(data, noted, again)
    (tmp_path / "crops" / paths[1]).write_bytes(b"no picture")
    (tmp_path / "crops" / paths[5]).unlink()
    with pytest.raises(ConfigurationError, match=f"2 of 48 crops .* as {paths[1]};"):
        known_crops.refuse_changed(
            data, noted, known_crops.note(data, store, known=noted)
        )
