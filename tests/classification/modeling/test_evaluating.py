"""What an evaluation writes, recomputed from its own probabilities."""

from __future__ import annotations

import csv
import gzip
import math
import tracemalloc
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn import metrics as oracle

from classification.artifacts import (
    confusion_matrices,
    crop_record,
    evaluation,
    label_stats,
    location_stats,
    overall_metrics,
    predictions,
    predictions_info,
)
from classification.artifacts.crop_record import CropRecord, Geometry
from classification.artifacts.evaluation import Bootstrap
from classification.artifacts.predictions_info import digest_box
from classification.dataset import training_set
from classification.dataset.counts import SPLITS
from classification.dataset.training_set import SplitRows, TrainingSet
from classification.labels import judging
from classification.labels.kinship import Kinship
from classification.measuring import metrics
from classification.modeling import evaluating, loading
from classification.modeling.evaluating import Options
from classification.modeling.inference import Resources
from classification.runtime.errors import ConfigurationError
from classification.runtime.name_list import CodedList, NameList
from classification.storage.local import LocalStore
from detection.boxes import Box
from tests import classifiers
from tests.classifiers import LABELS
from tests.examples import Examples, write_examples

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from classification.modeling.evaluating import Found
    from classification.modeling.inference import Classifier

OPTIONS = Options(batch_size=5, bootstrap=Bootstrap(replicates=50))


@dataclass(frozen=True)
class Desk:
    examples: Examples
    classifier: Classifier
    out: Path

    def evaluate(
        self, *splits: str, label_weighted: bool = False, **rest: object
    ) -> Found:
        return evaluating.evaluate(
            self.classifier,
            training_set.read(self.examples.dataset_dir, label_weighted=label_weighted),
            splits,
            self.out,
            store=LocalStore(self.examples.crops_dir),
            **{"options": OPTIONS, **rest},  # type: ignore[arg-type]  # tests name them
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    examples = write_examples(
        tmp_path / "data", LABELS, each=7, missing=[("test", "deer")]
    )
    model = classifiers.save_exported(tmp_path / "model/tiny.onnx")
    classifier = loading.open_classifier(model, Resources(device="cpu"))
    return Desk(examples, classifier, tmp_path / "out")


@dataclass(frozen=True)
class Written:
    """What is in an outputs file."""

    header: list[str]
    paths: list[str]
    labels: list[str]
    weights: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @property
    def true(self) -> NDArray[np.int64]:
        return np.array([self.header[3:].index(label) for label in self.labels])

    @property
    def predicted(self) -> NDArray[np.int64]:
        return np.asarray(self.probabilities.argmax(axis=1))


def read_outputs(desk: Desk, split: str) -> Written:
    with gzip.open(desk.out / f"outputs_{split}.csv.gz", "rt") as file:
        header, *rows = csv.reader(file)
    return Written(
        header,
        [row[0] for row in rows],
        [row[1] for row in rows],
        np.array([float(row[2]) for row in rows]),
        np.array([[float(cell) for cell in row[3:]] for row in rows]),
    )


def test_outputs_hold_every_crop_in_the_order_of_the_table(desk: Desk) -> None:
    desk.evaluate("val")
    written = read_outputs(desk, "val")
    rows = [row for row in desk.examples.rows if row.path.startswith("ds/val")]
    assert written.header == ["path", "label", "weight", *LABELS]
    assert written.paths == [row.path for row in rows]
    assert written.labels == [row.label for row in rows]
    assert set(written.weights) == {1.0}
    np.testing.assert_allclose(written.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("label_weighted", [False, True])
def test_overall_metrics_follow_from_the_outputs(
    desk: Desk, label_weighted: bool
) -> None:
    desk.evaluate(*SPLITS, label_weighted=label_weighted)
    rows = list(overall_metrics.read(desk.out / overall_metrics.FILENAME))
    assert [row.split for row in rows] == list(SPLITS)
    for row in rows:
        written = read_outputs(desk, row.split)
        weights = written.weights
        true, probabilities = written.true, written.probabilities
        losses = -np.log(probabilities[np.arange(len(true)), true])
        right = written.predicted == true
        assert row.loss == pytest.approx(losses.mean(), abs=1e-5)
        assert row.loss_weighted == pytest.approx((weights * losses).mean(), abs=1e-5)
        assert row.acc_top1 == pytest.approx(100 * right.mean())
        assert row.acc_weighted_top1 == pytest.approx(
            100 * (weights * right).mean(), abs=1e-4
        )
        assert row.acc_top3 == 100  # of three labels
        assert row.acc_weighted_top3 == pytest.approx(100)
        if label_weighted:
            counts = np.bincount(true)
            expected = len(true) / np.count_nonzero(counts) / counts[true]
            np.testing.assert_allclose(weights, expected, rtol=1e-6)
            assert row.acc_weighted_top1 == pytest.approx(
                100
                * oracle.recall_score(
                    true, written.predicted, labels=np.unique(true), average="macro"
                ),
                abs=1e-4,
            )


def test_the_other_tables_follow_from_the_outputs(desk: Desk) -> None:
    desk.evaluate("test")
    written = read_outputs(desk, "test")
    true, predicted = written.true, written.predicted
    matrices = confusion_matrices.read(desk.out / confusion_matrices.FILENAME)
    np.testing.assert_array_equal(
        matrices["test"], oracle.confusion_matrix(true, predicted, labels=range(3))
    )
    rows = list(label_stats.read(desk.out / label_stats.FILENAME))
    assert [row.label for row in rows] == list(LABELS)
    expected = oracle.precision_recall_fscore_support(
        true, predicted, labels=range(3), zero_division=0
    )
    assert [row.precision for row in rows] == pytest.approx(expected[0])
    assert math.isnan(rows[1].recall)  # test has no deer
    assert rows[0].recall == pytest.approx(expected[1][0])
    places = list(location_stats.read(desk.out / location_stats.FILENAME))
    assert [place.location for place in places] == ["ds/test0", "ds/test1", "ds/test2"]
    for index, place in enumerate(places):
        here = slice(7 * index, 7 * index + 7)
        assert place.crops == 7
        assert place.accuracy == np.mean(true[here] == predicted[here])


def test_metrics_json_follows_from_the_outputs(desk: Desk) -> None:
    desk.evaluate("val")
    written = read_outputs(desk, "val")
    found = evaluation.read(desk.out / evaluation.FILENAME)
    assert found.model_sha256 == desk.classifier.fingerprint
    val = found.splits["val"]
    assert (val.crops, val.failed, val.locations) == (21, 0, 3)
    assert val.hierarchy is None
    for estimate, expected in (
        (val.acc_top1, oracle.accuracy_score(written.true, written.predicted)),
        (
            val.macro_f1,
            oracle.f1_score(
                written.true,
                written.predicted,
                labels=np.unique(written.true),
                average="macro",
                zero_division=0,
            ),
        ),
    ):
        assert estimate.value == pytest.approx(expected)
        assert estimate.low is not None
        assert estimate.high is not None
        assert 0 <= estimate.low <= estimate.high <= 1


def test_the_same_input_gives_the_same_bytes(desk: Desk) -> None:
    files = []
    for _ in range(2):
        desk.evaluate("val", "test")
        files.append({path.name: path.read_bytes() for path in desk.out.iterdir()})
    assert files[0] == files[1]


def test_d42_what_a_split_gave_stays_when_the_next_one_fails(desk: Desk) -> None:
    found = training_set.read(desk.examples.dataset_dir)
    broken = training_set.TrainingSet(
        labels=found.labels, splits={"val": found.splits["val"]}
    )
    with pytest.raises(KeyError):
        evaluating.evaluate(
            desk.classifier,
            broken,
            ["val", "test"],
            desk.out,
            store=LocalStore(desk.examples.crops_dir),
            options=OPTIONS,
        )
    rows = list(overall_metrics.read(desk.out / overall_metrics.FILENAME))
    assert [row.split for row in rows] == ["val"]
    assert set(confusion_matrices.read(desk.out / confusion_matrices.FILENAME)) == {
        "val"
    }
    assert list(evaluation.read(desk.out / evaluation.FILENAME).splits) == ["val"]
    assert len(read_outputs(desk, "val").paths) == 21


def test_d42_equally_probable_labels_end_nothing(desk: Desk) -> None:
    class Undecided:
        """A network that knows nothing: what a classifier is, and no more."""

        categories = LABELS
        preprocessing = desk.classifier.preprocessing
        device = "cpu"
        fingerprint = "0" * 64
        calibration = None

        def predict(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
            return np.full((len(squares), 3), 1 / 3, np.float32)

    found = Desk(desk.examples, Undecided(), desk.out).evaluate("val", "test")
    bears = [row.label == "bear" for row in desk.examples.rows if "/val" in row.path]
    assert found.rows[0].acc_top1 == pytest.approx(100 * np.mean(bears))


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_metrics_are_those_of_any_batch_size(desk: Desk, batch_size: int) -> None:
    expected = desk.evaluate("val").metrics.splits["val"].macro_f1
    options = Options(batch_size=batch_size, bootstrap=OPTIONS.bootstrap)
    found = desk.evaluate("val", options=options)
    assert found.metrics.splits["val"].macro_f1 == expected


def test_unreadable_crops_are_left_out_and_listed(desk: Desk) -> None:
    broken, absent = (f"ds/val1_{n}.jpg___crop00.jpg" for n in (2, 5))
    (desk.examples.crops_dir / broken).write_bytes(b"no image")
    (desk.examples.crops_dir / absent).unlink()
    found = desk.evaluate("val", label_weighted=True)
    assert sorted(name for name, _ in found.failures) == sorted([broken, absent])
    assert found.crops == 21
    val = found.metrics.splits["val"]
    assert (val.crops, val.failed) == (19, 2)
    written = read_outputs(desk, "val")
    assert len(written.paths) == 19
    assert {broken, absent}.isdisjoint(written.paths)
    assert found.rows[0].acc_weighted_top3 == pytest.approx(100)


def test_a_split_without_crops_has_empty_cells(desk: Desk) -> None:
    for row in desk.examples.rows:
        (desk.examples.crops_dir / row.path).unlink()
    found = desk.evaluate("val")
    assert math.isnan(found.rows[0].acc_top1)
    val = evaluation.read(desk.out / evaluation.FILENAME).splits["val"]
    assert (val.crops, val.failed, val.locations) == (0, 21, 0)
    assert val.macro_f1.value is None
    assert list(predictions.open_file(desk.out / "outputs_val.csv.gz").batches()) == []


def test_no_intervals_where_none_are_wanted(desk: Desk) -> None:
    found = desk.evaluate("val", options=Options(bootstrap=Bootstrap(replicates=0)))
    accuracy = found.metrics.splits["val"].acc_top1
    assert accuracy.value is not None
    assert accuracy.low is accuracy.high is None


def test_a_taxonomy_tells_how_near_predictions_are(desk: Desk) -> None:
    above = np.zeros((3, 3), np.bool_)
    above[0, 1] = True
    kinship = Kinship(above=above, taxa={"class": np.array([0, 0, -1])})
    found = desk.evaluate("val", kinship=kinship).metrics.splits["val"].hierarchy
    written = read_outputs(desk, "val")
    true, predicted = written.true, written.predicted
    assert found is not None
    assert found.right.value == pytest.approx(np.mean(true == predicted))
    assert found.higher.value == pytest.approx(np.mean((true == 0) & (predicted == 1)))
    within = true < 2
    assert found.ranks == pytest.approx({"class": np.mean(predicted[within] < 2)})
    for estimate, is_such in (
        (found.right, true == predicted),
        (found.higher, (true == 0) & (predicted == 1)),
        (found.wrong, (true != predicted) & ~((true == 0) & (predicted == 1))),
    ):
        by_location = is_such.reshape(3, 7).mean(axis=1)
        expected = metrics.location_bootstrap(
            lambda counts, shares=by_location: counts @ shares / 3, 3, replicates=50
        )
        assert expected is not None
        found_here = (estimate.value, estimate.low, estimate.high)
        assert found_here == pytest.approx(
            (is_such.mean(), expected.low, expected.high)
        )


def test_targets_are_judged_in_the_place_of_categories(desk: Desk) -> None:
    mapping = {"bear": ["deer"], "empty": ["empty"], "other": ["bear"]}
    judged = judging.as_targets(LABELS, LABELS, mapping)
    plain = desk.evaluate("val")
    before = read_outputs(desk, "val")
    found = desk.evaluate("val", judged=judged)
    after = read_outputs(desk, "val")
    assert after.header[3:] == ["bear", "deer", "empty", "other"]
    np.testing.assert_allclose(
        after.probabilities[:, [0, 2, 3]], before.probabilities[:, [1, 2, 0]], atol=1e-6
    )
    assert (after.probabilities[:, 1] == 0).all()
    matrix = confusion_matrices.read(desk.out / confusion_matrices.FILENAME)["val"]
    assert matrix.shape == (4, 4)
    assert matrix[:, 1].sum() == matrix[3].sum() == 0
    assert found.rows != plain.rows


def test_a_classifier_of_other_categories_is_refused(desk: Desk) -> None:
    desk.classifier.categories = ("cat", "dog", "empty")
    with pytest.raises(ConfigurationError, match="categories are not the labels"):
        desk.evaluate("val")
    assert not desk.out.exists()


def test_calibrated_probabilities_say_so(desk: Desk, tmp_path: Path) -> None:
    model = tmp_path / "model/tiny.onnx"
    classifiers.calibrate(model, temperature=2.0)
    classifier = loading.open_classifier(model, Resources(device="cpu"))
    Desk(desk.examples, classifier, desk.out).evaluate("val")
    outputs = desk.out / "outputs_val.csv.gz"
    applied = predictions_info.find(outputs).calibration
    assert applied is not None
    assert applied.temperature == 2.0
    desk.evaluate("val")
    assert predictions_info.find(outputs) == predictions_info.Origin()


def test_rows_know_the_boxes_that_their_crops_tell_of(desk: Desk) -> None:
    rows = training_set.read(desk.examples.dataset_dir).splits["val"]
    path = desk.examples.crops_dir / rows.paths[1]
    record = CropRecord(
        image="a.jpg",
        image_digest=None,
        box=Box(0.1, 0.2, 0.3, 0.4),
        geometry=Geometry(shape="square", jpeg_quality=75, ignore_exif=False),
        detector="x",
        detector_digest=None,
        annotated=False,
    )
    path.write_bytes(crop_record.insert(path.read_bytes(), record))
    desk.evaluate("val")
    boxes = predictions_info.find(desk.out / "outputs_val.csv.gz").boxes
    assert boxes is not None
    assert boxes[1].tobytes() == digest_box(record.box)
    assert np.flatnonzero(boxes.any(axis=1)).tolist() == [1]


def test_crops_that_are_not_what_they_must_be_are_refused(desk: Desk) -> None:
    rows = training_set.read(desk.examples.dataset_dir).splits["val"]
    digests = np.zeros((len(rows), 16), np.uint8)
    with pytest.raises(ConfigurationError, match=f"{rows.paths[0]}: changed since"):
        peak_of(desk, replace(rows, digests=digests))


def repeated(rows: SplitRows, times: int) -> SplitRows:
    return SplitRows(
        paths=NameList([*rows.paths] * times),
        labels=np.tile(rows.labels, times),
        weights=np.tile(rows.weights, times),
        locations=CodedList([*rows.locations] * times),
        datasets=CodedList([*rows.datasets] * times),
        confidences=np.tile(rows.confidences, times),
        numbers=np.tile(rows.numbers, times),
    )


def peak_of(desk: Desk, rows: SplitRows) -> int:
    """Returns the most bytes that an evaluation holds beside its input."""
    tracemalloc.start()
    try:
        evaluating.evaluate(
            desk.classifier,
            TrainingSet(labels=LABELS, splits={"val": rows}),
            ["val"],
            desk.out,
            store=LocalStore(desk.examples.crops_dir),
            options=OPTIONS,
        )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_crops(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        predictions, "_BULK_NUMBERS", 100
    )  # rows are held until so many
    rows = training_set.read(desk.examples.dataset_dir).splits["val"]
    peak_of(desk, rows)  # what is imported and made once
    few, many = (peak_of(desk, repeated(rows, times)) for times in (5, 65))
    # Each name alone would take more.
    assert many - few < 60 * (60 * len(rows))
