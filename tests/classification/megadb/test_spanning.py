from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from classification.artifacts import dataset_csv, image_table
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location
from classification.dataset.counting import group
from classification.megadb import spanning
from classification.megadb.reading import MetadataStore
from classification.runtime.errors import ArtifactError
from tests import world

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

ONE, TWO, THREE = (Location("d", name) for name in "123")


def image(
    file: str, sequence: str | None, location: str | None = None
) -> dict[str, object]:
    return {"file": file, "sequence": sequence, "location": location}


def find(
    tmp_path: Path,
    images_by_dataset: Mapping[str, Sequence[Mapping[str, object]]],
    images: Iterable[tuple[str, Location]],
    **entry: str,
) -> spanning.Spanning:
    folder = world.write_store(tmp_path / "megadb", images_by_dataset, **entry)
    with MetadataStore.open(folder, work_dir=tmp_path / "work") as store:
        return spanning.find(store, images)


SEQUENCES = [image("a.jpg", "s"), image("b.jpg", "s"), image("c.jpg", "t")]


def test_d58_locations_that_hold_parts_of_one_sequence(tmp_path: Path) -> None:
    held = [("d/a.jpg", TWO), ("d/b.jpg", ONE), ("d/c.jpg", THREE)]
    found = find(tmp_path, {"d": SEQUENCES}, held)
    assert found == spanning.Spanning(1, ((TWO, ONE),), images=3, unknown=0)


def test_only_images_of_the_training_set_count(tmp_path: Path) -> None:
    held = [("d/a.jpg", TWO), ("d/c.jpg", THREE)]
    assert find(tmp_path, {"d": SEQUENCES}, held).shared == ()


def test_the_location_is_that_of_the_training_set(tmp_path: Path) -> None:
    rows = [image("a.jpg", "s", "1"), image("b.jpg", "s", "2")]
    held = [("d/a.jpg", ONE), ("d/b.jpg", ONE)]
    assert find(tmp_path, {"d": rows}, held).shared == ()


def test_the_same_id_in_another_dataset_is_another_sequence(tmp_path: Path) -> None:
    rows = {"d": SEQUENCES[:1], "e": SEQUENCES[1:]}
    held = [("d/a.jpg", ONE), ("e/b.jpg", Location("e", "1"))]
    assert find(tmp_path, rows, held).shared == ()


def test_images_without_a_sequence_share_none(tmp_path: Path) -> None:
    rows = [image("a.jpg", None), image("b.jpg", None)]
    held = [("d/a.jpg", ONE), ("d/b.jpg", TWO)]
    assert find(tmp_path, {"d": rows}, held).shared == ()


def test_images_that_the_store_does_not_have_are_counted(tmp_path: Path) -> None:
    held = [("d/a.jpg", ONE), ("d/gone.jpg", TWO), ("f/a.jpg", Location("f", "1"))]
    found = find(tmp_path, {"d": SEQUENCES}, held)
    assert (found.images, found.unknown) == (3, 2)
    assert find(tmp_path, {"d": SEQUENCES}, []) == spanning.Spanning(0, (), 0, 0)


def test_names_have_a_prefix_and_datasets_any_case(tmp_path: Path) -> None:
    held = [("D/sub/a.jpg", Location("D", "1")), ("D/sub/b.jpg", Location("D", "2"))]
    found = find(tmp_path, {"D": SEQUENCES}, held, path_prefix="sub")
    assert found.sequences == 1
    assert found.unknown == 0


def test_a_store_without_sequences_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = image_table.schema()
    kept = columns.remove(columns.get_field_index("sequence"))
    monkeypatch.setattr(image_table, "schema", lambda: kept)
    with pytest.raises(
        ArtifactError, match=r"d\.parquet: no table of images: .*sequence"
    ):
        find(tmp_path, {"d": [{"file": "a.jpg"}]}, [("d/a.jpg", ONE)])


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    held=st.lists(
        st.tuples(st.sampled_from("1234567"), st.sampled_from([None, *"stuvw"])),
        max_size=15,
    )
)
def test_no_sequence_is_in_two_places(
    tmp_path: Path, held: list[tuple[str, str | None]]
) -> None:
    rows = [image(f"{i:02}.jpg", sequence) for i, (_, sequence) in enumerate(held)]
    names = [
        (f"d/{i:02}.jpg", Location("d", where)) for i, (where, _) in enumerate(held)
    ]
    found = find(tmp_path, {"d": rows}, names)
    locations = {where for _, where in names}
    places = group(locations, found.shared)
    place = {where: i for i, held_by in enumerate(places) for where in held_by}
    together = {where: {where} for where in locations}  # by brute force
    for _ in locations:
        for (_, one), (_, s) in zip(names, held, strict=True):
            for (_, other), (_, t) in zip(names, held, strict=True):
                if s is not None and s == t:
                    both = together[one] | together[other]
                    for where in both:
                        together[where] = both
    for one in locations:
        for other in locations:
            assert (place[one] == place[other]) is (other in together[one])


def row(path: str, location: str = "1") -> CropRow:
    return CropRow(path, "d", location, "elk", 1.0, "deer")


def test_each_image_of_crops_stands_once(tmp_path: Path) -> None:
    table = tmp_path / "x.csv"
    crops = [
        row("d/a.jpg___crop00.jpg"),
        row("d/a.jpg___crop01_mdv4.1.jpg"),
        row("d/b.jpg___crop00.jpg", "2"),
    ]
    dataset_csv.write(table, crops)
    assert list(spanning.images_of(table)) == [("d/a.jpg", ONE), ("d/b.jpg", TWO)]
    dataset_csv.write(table, [*crops, row("d/a.jpg")])
    message = r"x\.csv: row 5, column path: 'd/a\.jpg' is not the name of a crop"
    with pytest.raises(ArtifactError, match=message):
        list(spanning.images_of(table))
