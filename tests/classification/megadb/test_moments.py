from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from classification.artifacts import image_table
from classification.artifacts.splits import Location
from classification.megadb import moments
from classification.megadb.reading import MetadataStore
from tests import world

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from classification.megadb.moments import Moments

ONE, TWO = Location("d", "1"), Location("d", "2")


def image(
    file: str, when: str | None = None, sequence: str | None = None
) -> dict[str, object]:
    moment = None if when is None else dt.datetime.fromisoformat(when)
    return {"file": file, "datetime": moment, "sequence": sequence}


def find(
    tmp_path: Path,
    images_by_dataset: Mapping[str, Sequence[Mapping[str, object]]],
    images: Sequence[tuple[str, Location]],
) -> Moments:
    folder = world.write_store(tmp_path / "megadb", images_by_dataset)
    with MetadataStore.open(folder, work_dir=tmp_path / "work") as store:
        return moments.find(store, images)


def test_what_comes_back_is_in_the_order_asked(tmp_path: Path) -> None:
    rows = [
        image("a.jpg", "2026-05-01 06:30:00", "s"),
        image("b.jpg", "2026-05-01 23:59:59", "t"),
        image("c.jpg", None, "s"),
        image("d.jpg", "2026-05-02 00:00:00"),
    ]
    asked = [(f"d/{name}.jpg", ONE) for name in ("d", "gone", "b", "a", "c")]
    found = find(tmp_path, {"d": rows}, asked)
    assert found.hour.tolist() == [0, -1, 23, 6, -1]
    assert found.known.tolist() == [True, False, True, True, True]
    assert found.day[2] == found.day[3] != found.day[0]
    assert found.day[[1, 4]].tolist() == [-1, -1]
    assert found.sequence[3] == found.sequence[4] != found.sequence[2]
    assert found.sequence[[0, 1]].tolist() == [-1, -1]


def test_a_day_is_of_one_location(tmp_path: Path) -> None:
    rows = [image(f"{name}.jpg", "2026-05-01 10:00:00") for name in "ab"]
    found = find(tmp_path, {"d": rows}, [("d/a.jpg", ONE), ("d/b.jpg", TWO)])
    assert found.day[0] != found.day[1]


def test_the_same_id_in_two_datasets_is_two_sequences(tmp_path: Path) -> None:
    rows = {
        "d": [image("a.jpg", "2026-05-01 10:00:00", "s")],
        "e": [image("a.jpg", "2026-05-01 10:00:00", "s")],
    }
    asked = [("d/a.jpg", ONE), ("e/a.jpg", Location("e", "1"))]
    found = find(tmp_path, rows, asked)
    assert found.sequence[0] != found.sequence[1]
    assert found.day[0] != found.day[1]


def test_days_without_a_time_tell_no_hour(tmp_path: Path) -> None:
    rows = [image("a.jpg", "2026-05-01"), image("b.jpg", "2026-05-02"), image("c.jpg")]
    asked = [(f"d/{name}.jpg", ONE) for name in "abc"]
    found = find(tmp_path, {"d": rows}, asked)
    assert found.hour.tolist() == [-1, -1, -1]
    assert found.day[0] != found.day[1]


def test_images_of_unknown_datasets_are_unknown(tmp_path: Path) -> None:
    asked = [("x/a.jpg", Location("x", "1")), ("d/a.jpg", ONE)]
    found = find(tmp_path, {"d": [image("a.jpg", "2026-05-01 10:00:00")]}, asked)
    assert found.known.tolist() == [False, True]
    assert found.hour.tolist() == [-1, 10]


def test_reads_the_columns_that_the_format_has() -> None:
    assert {"datetime", "sequence", "file"} <= set(image_table.schema().names)
