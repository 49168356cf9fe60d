"""Counts and distributions, against pandas and scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_class_weight  # type: ignore[import-untyped]

from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location
from classification.dataset import crop_columns, describing
from classification.dataset.counts import SPLITS

if TYPE_CHECKING:
    from classification.dataset.crop_columns import CropColumns

LABELS = [f"label {number:02d}" for number in range(7)]


def rows(crops: int = 500) -> list[CropRow]:
    rng = np.random.default_rng(3)
    made = []
    for number in range(crops):
        dataset = f"d{rng.integers(3)}"
        drawn = rng.random() < 0.2
        made.append(
            CropRow(
                f"{dataset}/{number}.jpg___crop00{'' if drawn else '_mdv4'}.jpg",
                dataset,
                f"loc{rng.integers(12)}",
                "",
                1.0 if drawn else float(rng.uniform(0.3, 1)),
                LABELS[min(6, int(rng.exponential(2)))],
            )
        )
    return made


ROWS = rows()
SPLIT_BY_LOCATION = {
    location: SPLITS[number % 3]
    for number, location in enumerate(
        sorted({Location(row.dataset, row.location) for row in ROWS})[:-1]
    )
}


@pytest.fixture(scope="module")
def columns() -> CropColumns:
    return crop_columns.gather(ROWS, SPLIT_BY_LOCATION)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    table = pd.DataFrame(ROWS)
    places = [Location(row.dataset, row.location) for row in ROWS]
    table["place"] = ["/".join(place) for place in places]
    table["split"] = [SPLIT_BY_LOCATION.get(place, "none") for place in places]
    table["drawn"] = ~table["path"].str.contains("_mdv")
    return table


def test_crops_of_each_label_and_split(
    columns: CropColumns, frame: pd.DataFrame
) -> None:
    wanted = pd.crosstab(frame["label"], frame["split"])[list(SPLITS)]
    assert list(wanted.index) == list(columns.labels)
    np.testing.assert_array_equal(describing.count_crops(columns), wanted.to_numpy())


def test_locations_of_each_label_and_split(
    columns: CropColumns, frame: pd.DataFrame
) -> None:
    wanted = frame.pivot_table(
        index="label", columns="split", values="place", aggfunc="nunique", fill_value=0
    )
    where = describing.label_at_locations(columns)
    np.testing.assert_array_equal(
        describing.count_locations(columns, where), wanted[list(SPLITS)].to_numpy()
    )


def test_crops_of_each_label_at_each_location(
    columns: CropColumns, frame: pd.DataFrame
) -> None:
    wanted = frame.groupby(["label", "place"]).size()
    where = describing.label_at_locations(columns)
    found = {
        (columns.labels[label], "/".join(columns.locations[place])): crops
        for label, place, crops in zip(
            where.label, where.location, where.crops, strict=True
        )
    }
    assert found == wanted.to_dict()
    part = where.of(2)
    assert set(where.label[part]) == {2}
    assert where.crops[part].sum() == (frame["label"] == columns.labels[2]).sum()


def test_confidences_are_those_of_describe(
    columns: CropColumns, frame: pd.DataFrame
) -> None:
    wanted = frame[~frame["drawn"]].groupby("label")["confidence"].describe()
    drawn = frame.groupby("label")["drawn"].sum()
    described = describing.describe_confidences(columns)
    for label, found in zip(columns.labels, described, strict=True):
        expected = wanted.loc[label]
        assert found.detected == expected["count"]
        assert found.drawn == drawn[label]
        assert found.mean == pytest.approx(expected["mean"])
        assert found.quartiles == pytest.approx(
            tuple(expected[["min", "25%", "50%", "75%", "max"]])
        )


def test_without_a_detector_there_is_no_confidence() -> None:
    row = CropRow("d/a.jpg___crop00.jpg", "d", "1", "", 1.0, "fox")
    [found] = describing.describe_confidences(crop_columns.gather([row], {}))
    assert (found.detected, found.drawn) == (0, 1)
    assert np.isnan(found.quartiles).all()


def test_datasets_of_each_label_and_split(
    columns: CropColumns, frame: pd.DataFrame
) -> None:
    datasets, counts = describing.count_datasets(columns)
    inside = frame[frame["split"] != "none"]
    wanted = inside.groupby(["label", "dataset", "split"]).size()
    found = {
        (columns.labels[label], datasets[dataset], SPLITS[split]): int(count)
        for (label, dataset, split), count in np.ndenumerate(counts)
        if count
    }
    assert found == wanted.to_dict()


def test_weights_are_those_of_scikit_learn(frame: pd.DataFrame) -> None:
    labels = frame["label"].to_numpy()
    names, counts = np.unique(labels, return_counts=True)
    wanted = compute_class_weight("balanced", classes=names, y=labels)
    np.testing.assert_allclose(describing.approximate_weights(counts), wanted)


def test_a_label_without_crops_has_no_weight() -> None:
    found = describing.approximate_weights(np.array([3, 0, 1]))
    np.testing.assert_allclose(found, [4 / 6, np.nan, 2])


def test_samples_are_of_their_label_and_stable(columns: CropColumns) -> None:
    drawn = describing.sample_rows(columns, 5, seed=1)
    again = describing.sample_rows(columns, 5, seed=1)
    other = describing.sample_rows(columns, 5, seed=2)
    for number, (one, two) in enumerate(zip(drawn, again, strict=True)):
        assert one.tolist() == two.tolist() == sorted(set(one.tolist()))
        assert {ROWS[row].label for row in one} == {columns.labels[number]}
    assert any(a.tolist() != b.tolist() for a, b in zip(drawn, other, strict=True))


def test_a_sample_depends_on_its_label_alone(columns: CropColumns) -> None:
    kept = [row for row in ROWS if row.label != columns.labels[0]]
    fewer = crop_columns.gather(kept, SPLIT_BY_LOCATION)
    paths = [
        [of.paths[row] for row in rows]
        for of, sample in (
            (columns, describing.sample_rows(columns, 4, seed=0)[1:]),
            (fewer, describing.sample_rows(fewer, 4, seed=0)),
        )
        for rows in sample
    ]
    half = len(paths) // 2
    assert paths[:half] == paths[half:]
