"""What is true of every file format: golden files round-trip, broken ones are refused.

A golden file was written by hand from the description of the format. Reading it and
writing it again gives the same bytes. Every way in which any file can be broken is
tried on each of them: one line that names the file, whatever the format.
"""

from __future__ import annotations

import gzip
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from classification.artifacts import (
    batch_response,
    batch_tasks,
    confusion_matrices,
    crops_left_out,
    dataset_csv,
    dataset_list,
    detection_cache,
    detections,
    detector_calibration,
    evaluation,
    image_contents,
    image_counts,
    image_entries,
    image_list,
    image_status,
    label_index,
    label_spec,
    label_spec_csv,
    label_stats,
    left_out,
    location_counts,
    location_stats,
    mislabeled,
    mislabeled_candidates,
    overall_metrics,
    predictions,
    predictions_info,
    queried_images,
    run_params,
    shard_record,
    split_summary,
    splits,
    target_mapping,
    taxonomy_csv,
    timelapse_csv,
)
from classification.runtime.errors import ArtifactError
from tests.commands import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOLDEN = ROOT / "tests/golden"


@dataclass(frozen=True)
class Format:
    """A file format, by its golden file.

    Attributes:
        golden: name of the golden file.
        read: reads and checks a whole file.
        rewrite: reads the first file and writes what it says into the second; None
            for a format that only people write.
    """

    golden: str
    read: Callable[[Path], object]
    rewrite: Callable[[Path, Path], object] | None = None

    @property
    def path(self) -> Path:
        return GOLDEN / self.golden


def read_detections(path: Path) -> object:
    return list(detections.open_file(path).images())


def rewrite_detections(source: Path, copy: Path) -> None:
    file = detections.open_file(source)
    detections.write(copy, file.header, file.documents())


def read_cache(path: Path) -> object:
    return list(detection_cache.open_path(path).images())


def read_predictions(path: Path) -> object:
    return list(predictions.open_file(path).batches())


def rewrite_predictions(source: Path, copy: Path) -> None:
    file = predictions.open_file(source)
    batches = ((batch.paths, batch.probabilities) for batch in file.batches(rows=2))
    predictions.write(copy, file.categories, batches)


def read_image_contents(path: Path) -> object:
    return list(image_contents.read(path).images())


def rewrite_image_contents(source: Path, copy: Path) -> None:
    record = image_contents.read(source)
    image_contents.write(copy, record.header, record.images())


def rewrite_crops_left_out(source: Path, copy: Path) -> None:
    with crops_left_out.writing(copy) as table:
        table.writerows(crops_left_out.read(source))


FORMATS = [
    Format("detections.json", read_detections, rewrite_detections),
    Format("detection_cache.json", read_cache),  # as the original wrote it
    Format(
        "detections.json.images.jsonl.gz", read_image_contents, rewrite_image_contents
    ),
    Format("batch_response.json", batch_response.read),
    Format(
        "detect_and_crop_tasks.json",
        batch_tasks.read,
        lambda source, copy: batch_tasks.write(copy, batch_tasks.read(source)),
    ),
    Format("classifier_output.csv", read_predictions, rewrite_predictions),
    Format("classifier_output.csv.gz", read_predictions, rewrite_predictions),
    Format(
        "classifier_output.csv.info.json",
        predictions_info.read,
        lambda source, copy: predictions_info.write(
            copy, predictions_info.read(source)
        ),
    ),
    Format(
        "classifier_output.csv.shard.json",
        shard_record.read,
        lambda source, copy: shard_record.write(copy, shard_record.read(source)),
    ),
    Format("label_spec.csv", label_spec_csv.read),
    Format("taxonomy.csv", taxonomy_csv.read),
    Format("images.json", image_list.read),
    Format("image_entries.json", lambda path: list(image_entries.read(path))),
    Format(
        "image_status.csv",
        lambda path: list(image_status.read(path)),
        lambda source, copy: image_status.write(copy, image_status.read(source)),
    ),
    Format(
        "queried_images.json",
        queried_images.read,
        lambda source, copy: queried_images.write(
            copy, queried_images.read(source), indent=1
        ),
    ),
    Format(
        "label_index.json",
        label_index.read,
        lambda source, copy: label_index.write(copy, label_index.read(source)),
    ),
    Format(
        "label_spec.json",
        label_spec.read,
        lambda source, copy: label_spec.write(copy, label_spec.read(source), indent=1),
    ),
    Format(
        "target_to_classifier_labels.json",
        target_mapping.read,
        lambda source, copy: target_mapping.write(copy, target_mapping.read(source)),
    ),
    Format(
        "mislabeled.csv",
        mislabeled.read,
        lambda source, copy: mislabeled.write(copy, mislabeled.read(source)),
    ),
    Format(
        "mislabeled_candidates.csv",
        lambda path: list(mislabeled_candidates.read(path)),
        lambda source, copy: mislabeled_candidates.write(
            copy, mislabeled_candidates.read(source)
        ),
    ),
    Format(
        "timelapse.csv",
        lambda path: list(timelapse_csv.read(path)),
        lambda source, copy: timelapse_csv.write(copy, timelapse_csv.read(source)),
    ),
    Format(
        "image_counts_by_label.json",
        image_counts.read,
        lambda source, copy: image_counts.write(copy, image_counts.read(source)),
    ),
    Format(
        "queried_images_counts.csv",
        lambda path: list(location_counts.read(path)),
        lambda source, copy: location_counts.write(copy, location_counts.read(source)),
    ),
    Format(
        "datasets.json",
        lambda path: dataset_list.read(path.parent),
        lambda source, copy: dataset_list.write(
            copy.parent, dataset_list.read(source.parent)
        ),
    ),
    Format(
        "left_out.csv",
        lambda path: list(left_out.read(path)),
        lambda source, copy: left_out.write(copy, left_out.read(source)),
    ),
    Format(
        "classification_ds.csv",
        lambda path: list(dataset_csv.read(path)),
        lambda source, copy: dataset_csv.write(copy, dataset_csv.read(source)),
    ),
    Format(
        "classification_ds_left_out.csv",
        lambda path: list(crops_left_out.read(path)),
        rewrite_crops_left_out,
    ),
    Format(
        "splits.json",
        splits.read,
        lambda source, copy: splits.write(copy, splits.read(source)),
    ),
    Format(
        "params.json",
        run_params.read,
        lambda source, copy: run_params.write(copy, run_params.read(source)),
    ),
    Format(
        "splits_summary.csv",
        lambda path: list(split_summary.read(path)),
        lambda source, copy: split_summary.write(copy, split_summary.read(source)),
    ),
    Format(
        "overall_metrics.csv",
        lambda path: list(overall_metrics.read(path)),
        lambda source, copy: overall_metrics.write(copy, overall_metrics.read(source)),
    ),
    Format(
        "label_stats.csv",
        lambda path: list(label_stats.read(path)),
        lambda source, copy: label_stats.write(copy, label_stats.read(source)),
    ),
    Format(
        "location_stats.csv",
        lambda path: list(location_stats.read(path)),
        lambda source, copy: location_stats.write(copy, location_stats.read(source)),
    ),
    Format(
        "confusion_matrices.npz",
        confusion_matrices.read,
        lambda source, copy: confusion_matrices.write(
            copy, confusion_matrices.read(source)
        ),
    ),
    Format(
        "isotonic_calibration.npz",
        detector_calibration.read,
        lambda source, copy: detector_calibration.write(
            copy, detector_calibration.read(source)
        ),
    ),
    Format(
        "metrics.json",
        evaluation.read,
        lambda source, copy: evaluation.write(copy, evaluation.read(source)),
    ),
]


def for_each(formats: list[Format]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file_format", formats, ids=lambda f: f.golden)


by_golden = for_each(FORMATS)
# A text table that ends early is a shorter table.
by_golden_with_an_end = for_each(
    [f for f in FORMATS if f.golden.endswith((".json", ".gz", ".npz"))]
)
by_golden_json = for_each([f for f in FORMATS if f.golden.endswith(".json")])


def packed(path: Path, content: bytes) -> bytes:
    """Compresses ``content`` where the name of ``path`` says so."""
    return gzip.compress(content, mtime=0) if path.suffix == ".gz" else content


def unpacked(path: Path) -> bytes | dict[str, bytes]:
    """Returns what is in a file: compressed bytes may differ between machines."""
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


@by_golden
def test_golden_file_round_trips_byte_for_byte(
    file_format: Format, tmp_path: Path
) -> None:
    file_format.read(file_format.path)
    if file_format.rewrite is None:
        return  # only people write this format
    copy = tmp_path / file_format.golden
    file_format.rewrite(file_format.path, copy)
    assert unpacked(copy) == unpacked(file_format.path)


@by_golden
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x02",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b'"x"',
        b"{",
        b"NaN",
        b"[" * 9999,
    ],
    ids=["empty", "binary", "utf-16", "list", "string", "brace", "nan", "deep"],
)
def test_what_is_no_such_file_is_refused(
    file_format: Format, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / file_format.golden
    path.write_bytes(packed(path, content))
    refuse(file_format, path)


@by_golden_with_an_end
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(
    file_format: Format, share: float, tmp_path: Path
) -> None:
    content = file_format.path.read_bytes()
    path = tmp_path / file_format.golden
    path.write_bytes(content[: int(len(content) * share)])
    refuse(file_format, path)


@by_golden
def test_a_missing_file_and_a_folder_are_refused(
    file_format: Format, tmp_path: Path
) -> None:
    path = tmp_path / file_format.golden
    refuse(file_format, path)
    path.mkdir()
    refuse(file_format, path)


@by_golden_json
@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [[]], {"x": 1}, True, -1.5])
def test_any_value_of_another_type_is_refused_or_read(
    file_format: Format, value: object, tmp_path: Path
) -> None:
    """Puts ``value`` in the place of every value of a JSON golden file in turn."""
    path = tmp_path / file_format.golden
    for document in replaced(json.loads(file_format.path.read_bytes()), value):
        path.write_text(json.dumps(document), encoding="utf-8")
        try:
            file_format.read(path)
        except ArtifactError as error:
            assert_one_line_that_names(path, error)


def replaced(document: object, value: object) -> list[object]:
    """Returns copies of ``document``, each with one of its values replaced."""
    if isinstance(document, dict):
        return [value] + [
            {**document, key: copy}
            for key, inner in document.items()
            for copy in replaced(inner, value)
        ]
    if isinstance(document, list):
        return [value] + [
            [*document[:index], copy, *document[index + 1 :]]
            for index, inner in enumerate(document)
            for copy in replaced(inner, value)
        ]
    return [value]


def refuse(file_format: Format, path: Path) -> None:
    with pytest.raises(ArtifactError) as refusal:
        file_format.read(path)
    assert_one_line_that_names(path, refusal.value)


def assert_one_line_that_names(path: Path, error: ArtifactError) -> None:
    assert str(error).startswith(str(path))
    assert len(str(error).splitlines()) == 1
