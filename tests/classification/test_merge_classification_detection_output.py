from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from classification import aggregate_classifier_probs
from classification.artifacts import (
    detection_cache,
    detections,
    label_index,
    predictions,
    predictions_info,
    queried_images,
    target_mapping,
)
from classification.artifacts.predictions_info import Origin
from classification.artifacts.queried_images import QueriedBox, QueriedImage
from classification.merge_classification_detection_output import main
from classification.modeling import manifest
from classification.runtime import cli
from detection.boxes import Box
from tests import classifiers

DETECTOR = "md_v5a.0.0.pt"
NAMES = ("bear", "deer", "fox")
BOX = [0.1, 0.2, 0.3, 0.4]
CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}
CACHED = "megadetector_v4.1"


def found(*confs: float) -> list[dict[str, Any]]:
    return [{"category": "1", "conf": conf, "bbox": BOX} for conf in confs]


def crop(image: str, index: int, suffix: str = DETECTOR) -> str:
    return f"{image}___crop{index:02d}{suffix and '_'}{suffix}.jpg"


class Files:
    """What the command reads and writes, of either mode."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results.csv"
        self.names = folder / "names.json"
        self.boxes = folder / "detections.json"
        self.queried = folder / "queried_images.json"
        self.cache = folder / "mdcache"
        self.output = folder / "merged.json"
        label_index.write(self.names, NAMES)

    def write_results(
        self, *rows: tuple[str, list[float]], labels: list[str] | None = None
    ) -> None:
        paths = [path for path, _ in rows]
        numbers = np.array([row for _, row in rows], np.float32).reshape(-1, len(NAMES))
        if labels is None:
            predictions.write(self.results, NAMES, [(paths, numbers)])
            return
        weights = np.ones(len(rows), np.float32)
        evaluated = predictions.Evaluated(paths, labels, weights, numbers)
        predictions.write_evaluated(self.results, NAMES, [evaluated])

    def write_boxes(self, images: dict[str, Any], **keys: Any) -> None:  # noqa: ANN401 - JSON
        document = {
            "images": [
                {
                    "file": name,
                    **(one if isinstance(one, dict) else {"detections": one}),
                }
                for name, one in images.items()
            ],
            "detection_categories": CATEGORIES,
            "info": {"format_version": "1.6", "detector": DETECTOR},
            **keys,
        }
        self.boxes.write_text(json.dumps(document))

    def write_cache(self, dataset: str, *images: str, detector: str = CACHED) -> None:
        header = detections.Header(
            detection_categories=CATEGORIES,
            info={"format_version": "1.6", "detector": detector},
        )
        documents = (
            json.dumps(
                {"file": name, "detections": found(0.9, 0.8), "meta": 1}
            ).encode()
            for name in images
        )
        detection_cache.write(self.cache, "4.1", dataset, header, documents)

    def write_queried(self, boxes_by_image: dict[str, list[str] | None]) -> None:
        images = {
            name: QueriedImage(
                dataset=name.partition("/")[0],
                dataset_label="x",
                labels=("bear",),
                boxes=None
                if categories is None
                else tuple(QueriedBox(one, Box(*BOX)) for one in categories),
            )
            for name, categories in boxes_by_image.items()
        }
        queried_images.write(self.queried, images)

    def argv(self, *options: str) -> list[str]:
        inputs = [str(self.results), str(self.names)]
        return [*inputs, "-o", str(self.output), "-n", "megaclassifier", *options]

    def merge(self, *options: str) -> int:
        return main(self.argv("-j", str(self.boxes), *options))

    def merge_queried(self, *options: str) -> int:
        cache = ["-c", str(self.cache), "-v", "4.1"]
        return main(self.argv("-q", str(self.queried), *cache, *options))

    def merged(self) -> Any:  # noqa: ANN401 - JSON
        detections.open_file(self.output)
        return json.loads(self.output.read_bytes())

    def told(self) -> dict[str, list[Any]]:
        """Returns the classifications of each box, None without, by image."""
        return {
            image["file"]: [box.get("classifications") for box in image["detections"]]
            for image in self.merged()["images"]
            if image["detections"] is not None
        }

    def refusal(
        self, capsys: pytest.CaptureFixture[str], *options: str, queried: bool = False
    ) -> str:
        """Returns the one line that the command ends with; it wrote nothing."""
        merge = self.merge_queried if queried else self.merge
        assert merge(*options) == cli.EXIT_FAILED
        assert not self.output.exists()
        *_, line = capsys.readouterr().err.splitlines()
        return line.removeprefix("error: ").replace(f"{self.folder}/", "")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_boxes_get_their_categories_by_falling_probability(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes(
        {
            "a/1.jpg": {
                "detections": found(0.9, 0.2),
                "width": 640,
                "meta": {"x": [1.5]},
            },
            "a/2.jpg": [],
            "b/3.jpg": {"detections": None, "failure": "truncated"},
            "b/4.jpg": found(0.7),
        },
        summary={"by": "someone"},
    )
    files.write_results(
        (crop("b/4.jpg", 0), [0.05, 0.04, 0.01]),
        (crop("a/1.jpg", 0), [0.123449, 0.7, 0.123451]),
    )
    assert files.merge() == cli.EXIT_OK
    assert files.merged() == {
        "info": {
            "format_version": "1.6",
            "detector": DETECTOR,
            "classifier": "megaclassifier",
        },
        "detection_categories": CATEGORIES,
        "classification_categories": {"0": "bear", "1": "deer", "2": "fox"},
        "summary": {"by": "someone"},
        "images": [
            {
                "file": "a/1.jpg",
                "detections": [
                    {
                        "category": "1",
                        "conf": 0.9,
                        "bbox": BOX,
                        "classifications": [["1", 0.7], ["2", 0.1235], ["0", 0.1234]],
                    },
                    *found(0.2),
                ],
                "width": 640,
                "meta": {"x": [1.5]},
            },
            {"file": "a/2.jpg", "detections": []},
            {"file": "b/3.jpg", "detections": None, "failure": "truncated"},
            {
                "file": "b/4.jpg",
                "detections": [{**found(0.7)[0], "classifications": []}],
            },
        ],
    }
    assert capsys.readouterr().err == (
        f"{files.results}: nothing beside it tells which boxes its crops were cut from; "
        "they are taken to be these\n"
        f"wrote {files.output}: 4 images, 2 boxes classified on 2 of them\n"
    )


def test_the_threshold_is_met_by_what_the_file_says(files: Files) -> None:
    """0.7 in the file is not below 0.7, though the nearest float32 is."""
    files.write_boxes({"1.jpg": found(0.9)})
    files.results.write_text(f"path,bear,deer,fox\n{crop('1.jpg', 0)},0.7,0.3,0\n")
    assert files.merge("-t", "0.7") == cli.EXIT_OK
    assert files.told() == {"1.jpg": [[["0", 0.7]]]}


def test_ties_are_in_the_order_of_ids(files: Files) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results((crop("1.jpg", 0), [0.25, 0.5, 0.25]))
    assert files.merge() == cli.EXIT_OK
    assert files.told() == {"1.jpg": [[["1", 0.5], ["0", 0.25], ["2", 0.25]]]}


def test_columns_are_found_by_name_and_others_left_aside(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.results.write_text(
        f"fox,emu,path,bear,deer\n0.5,0.4,{crop('1.jpg', 0)},0.1,0\n"
    )
    assert files.merge() == cli.EXIT_OK
    assert files.told() == {"1.jpg": [[["2", 0.5], ["0", 0.1]]]}
    assert (
        "columns that are no category are left aside: 'emu'" in capsys.readouterr().err
    )


def test_d12_the_hundredth_box_is_not_the_tenth(files: Files) -> None:
    files.write_boxes({"1.jpg": found(*[0.5] * 101)})
    files.write_results((crop("1.jpg", 10), [1, 0, 0]), (crop("1.jpg", 100), [0, 1, 0]))
    assert files.merge() == cli.EXIT_OK
    told = files.told()["1.jpg"]
    assert {box: said for box, said in enumerate(told) if said is not None} == {
        10: [["0", 1.0]],
        100: [["1", 1.0]],
    }


def test_d16_the_time_of_completion_is_a_time_or_absent(files: Files) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results((crop("1.jpg", 0), [1, 0, 0]))
    key = "classification_completion_time"
    assert files.merge() == cli.EXIT_OK
    assert key not in files.merged()["info"]
    assert files.merge("--completion-time", "2022-04-26 13:14:15") == cli.EXIT_OK
    assert files.merged()["info"][key] == "2022-04-26 13:14:15"
    before = int(time.time())
    assert files.merge("--completion_time", "now") == cli.EXIT_OK
    said = time.strptime(files.merged()["info"][key], "%Y-%m-%d %H:%M:%S")
    assert before <= time.mktime(said) <= time.time()


def test_the_classifier_s_typical_threshold_is_told(files: Files) -> None:
    files.write_boxes(
        {"1.jpg": found(0.9)},
        info={"format_version": "1.4"},
    )
    files.write_results((crop("1.jpg", 0), [1, 0, 0]))
    assert files.merge("--typical-confidence-threshold", "0.75") == cli.EXIT_OK
    assert files.merged()["info"] == {
        "format_version": "1.4",
        "classifier_metadata": {"typical_classification_threshold": 0.75},
        "classifier": "megaclassifier",
    }


def test_what_an_earlier_classifier_left_does_not_outlive_it(files: Files) -> None:
    files.write_boxes(
        {"1.jpg": found(0.9)},
        info={
            "format_version": "1.4",
            "classifier": "earlier",
            "classification_completion_time": "2020-01-01 00:00:00",
            "classifier_metadata": {
                "typical_classification_threshold": 0.3,
                "calibration": CALIBRATION,
            },
        },
    )
    files.write_results((crop("1.jpg", 0), [1, 0, 0]))
    assert files.merge() == cli.EXIT_OK
    info = {"format_version": "1.4", "classifier": "megaclassifier"}
    assert files.merged()["info"] == info


CALIBRATION = {
    "method": "temperature",
    "temperature": 1.41,
    "crops": 900,
    "ece_before": 0.093,
    "ece_after": 0.021,
}
CALIBRATED = Origin(predictions_info.Applied(**CALIBRATION))


def test_what_calibrated_the_probabilities_is_told(files: Files) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results((crop("1.jpg", 0), [1, 0, 0]))
    predictions_info.tell(files.results, CALIBRATED)
    assert files.merge("--typical-confidence-threshold", "0.75") == cli.EXIT_OK
    assert files.merged()["info"]["classifier_metadata"] == {
        "typical_classification_threshold": 0.75,
        "calibration": CALIBRATION,
    }
    files.write_results((crop("1.jpg", 0), [0.5, 0.5, 0]))  # the info is of other rows
    assert files.merge() == cli.EXIT_OK
    assert "classifier_metadata" not in files.merged()["info"]


def tell_boxes(path: Path, *boxes: list[float] | None) -> None:
    """Writes which box each row of a classifier output is of; None: nobody knows."""
    digests = [
        bytes(8) if box is None else predictions_info.digest_box(Box(*box))
        for box in boxes
    ]
    rows = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 8)
    predictions_info.tell(path, Origin(boxes=rows))


MOVED = [*BOX[:3], float(np.nextafter(BOX[3], 1))]


def test_rows_of_other_boxes_are_refused(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes({"1.jpg": found(0.9, 0.8), "2.jpg": found(0.7)})
    files.write_results((crop("2.jpg", 0), [1, 0, 0]), (crop("1.jpg", 1), [0, 1, 0]))
    tell_boxes(files.results, BOX, BOX)
    assert files.merge() == cli.EXIT_OK
    assert "nothing beside it" not in capsys.readouterr().err
    assert files.told() == {"1.jpg": [None, [["1", 1.0]]], "2.jpg": [[["0", 1.0]]]}
    files.output.unlink()
    tell_boxes(files.results, BOX, MOVED)
    assert files.refusal(capsys) == (
        "results.csv: row 3, column path: box 1 of '1.jpg' is another one than its crop "
        "was cut from; crop and classify it again"
    )


def test_more_boxes_and_other_confidences_are_no_matter(files: Files) -> None:
    other = found(0.1, 0.2, 0.3)
    other[2]["bbox"] = MOVED
    files.write_boxes({"1.jpg": other, "0.jpg": other})
    files.write_results((crop("1.jpg", 1), [0, 1, 0]))
    tell_boxes(files.results, BOX)
    assert files.merge() == cli.EXIT_OK
    assert files.told()["1.jpg"] == [None, [["1", 1.0]], None]


def test_a_row_whose_box_nobody_knows_is_taken(files: Files) -> None:
    moved = found(0.9, 0.8)
    moved[1]["bbox"] = MOVED
    files.write_boxes({"1.jpg": moved})
    files.write_results((crop("1.jpg", 0), [1, 0, 0]), (crop("1.jpg", 1), [0, 1, 0]))
    tell_boxes(files.results, BOX, None)
    assert files.merge() == cli.EXIT_OK


@pytest.mark.parametrize("image", ["d/drawn.jpg", "d/cached.jpg"])
def test_rows_of_other_boxes_of_training_images_are_refused(
    files: Files, capsys: pytest.CaptureFixture[str], image: str
) -> None:
    files.write_queried({"d/drawn.jpg": ["animal"], "d/cached.jpg": None})
    files.write_cache("d", "cached.jpg")
    suffix = "" if image == "d/drawn.jpg" else "mdv4.1"
    files.write_results((crop(image, 0, suffix), [1, 0, 0]), labels=["bear"])
    tell_boxes(files.results, BOX)
    assert files.merge_queried() == cli.EXIT_OK
    files.output.unlink()
    tell_boxes(files.results, MOVED)
    assert files.refusal(capsys, queried=True).startswith(
        f"results.csv: row 2, column path: box 0 of '{image}' is another one"
    )


def test_crops_of_another_detector_are_refused(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes({"1.jpg": found(0.9, 0.8)})
    files.write_results(
        (crop("1.jpg", 0), [1, 0, 0]), (crop("1.jpg", 1, "other_v7.pt"), [0, 1, 0])
    )
    assert files.refusal(capsys) == (
        "results.csv: row 3, column path: 1.jpg___crop01_other_v7.pt.jpg was cut from a "
        f"box of 'other_v7.pt', the detections are of {DETECTOR!r}; give those that the "
        "crops were cut from, or classify crops of these"
    )
    files.write_boxes({"1.jpg": found(0.9, 0.8)}, info={"format_version": "1.4"})
    assert files.merge() == cli.EXIT_OK  # nobody knows whose they are


def test_crops_of_another_version_of_the_cache_are_refused(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_queried({"d/1.jpg": None})
    files.write_cache("d", "1.jpg")
    files.write_results((crop("d/1.jpg", 0, "mdv5"), [1, 0, 0]), labels=["bear"])
    assert "was cut from a box of 'mdv5', the detections are of 'mdv4.1'" in (
        files.refusal(capsys, queried=True)
    )


def test_an_image_with_drawn_boxes_may_be_in_the_cache_too(files: Files) -> None:
    files.write_queried({"d/1.jpg": ["animal"], "d/2.jpg": None})
    files.write_cache("d", "1.jpg", "2.jpg")
    files.write_results(
        (crop("d/1.jpg", 0, ""), [0, 1, 0]),
        (crop("d/2.jpg", 1, "mdv4.1"), [0, 0, 1]),
        labels=["bear", "bear"],
    )
    assert files.merge_queried() == cli.EXIT_OK
    assert files.told() == {"d/1.jpg": [[["1", 1.0]]], "d/2.jpg": [None, [["2", 1.0]]]}
    drawn = files.merged()["images"][0]["detections"]
    assert [box["conf"] for box in drawn] == [1.0]  # not the cache's 0.9 and 0.8


def save_manifest(files: Files, thresholds: dict[str, float | None]) -> Path:
    """Writes the manifest of a calibrated model with a threshold for each label."""
    path = classifiers.save_exported(files.folder / "m.onnx", labels=list(thresholds))
    classifiers.calibrate(path, temperature=2.0, thresholds=thresholds)
    return manifest.path_beside(path)


def test_categories_are_told_from_their_thresholds_on(files: Files) -> None:
    described = save_manifest(files, {"bear": 0.6, "deer": 0.2, "fox": None})
    files.write_boxes({"1.jpg": found(0.9, 0.8, 0.7)})
    rows = ([0.5, 0.2, 0.3], [0.6, 0.4, 0], [0.1, 0, 0.9])
    files.write_results(*((crop("1.jpg", n), list(row)) for n, row in enumerate(rows)))
    predictions_info.tell(files.results, CALIBRATED)
    assert files.merge("--label-thresholds", str(described)) == cli.EXIT_OK
    assert files.told()["1.jpg"] == [[["1", 0.2]], [["0", 0.6], ["1", 0.4]], []]
    assert files.merged()["info"]["classifier_metadata"] == {
        "calibration": CALIBRATION,
        "label_thresholds": {"bear": 0.6, "deer": 0.2},
    }


def test_thresholds_that_do_not_fit(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    described = save_manifest(files, {"bear": 0.6, "deer": 0.2})
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results((crop("1.jpg", 0), [1, 0, 0]))
    given = ("--label-thresholds", str(described))
    assert "results.csv: not calibrated, as far as is told" in files.refusal(
        capsys, *given
    )
    predictions_info.tell(files.results, CALIBRATED)
    assert files.refusal(capsys, *given) == (
        f"{described.name}: 'fox': no label of this model; its thresholds are of its own "
        "labels, not of targets"
    )
    classifiers.save_exported(files.folder / "m.onnx", labels=NAMES)
    assert files.refusal(capsys, *given) == (
        f"{described.name}: not calibrated; calibrate_classifier does it"
    )


def test_a_broken_info_is_named(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results((crop("1.jpg", 0), [1, 0, 0]))
    predictions_info.path_beside(files.results).write_text("{")
    assert files.merge() == 1
    assert "results.csv.info.json: not JSON" in capsys.readouterr().err
    assert not files.output.exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], [["0", 0.5], ["1", 0.3], ["2", 0.2]]),
        (["--label", "first"], [["1000001", 1.0], ["0", 0.5], ["1", 0.3], ["2", 0.2]]),
        (["--label", "last"], [["0", 0.5], ["1", 0.3], ["2", 0.2], ["1000001", 1.0]]),
        (["--relative-conf"], [["0", 0.2]]),
        (["--relative_conf", "--label", "first"], [["1000001", 1.0], ["0", 0.2]]),
        (["--relative-conf", "-t", "0"], [["0", 0.2], ["1", 0.0], ["2", 0.0]]),
    ],
)
def test_d17_true_labels_and_relative_confidence(
    files: Files, options: list[str], told: list[Any]
) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results((crop("1.jpg", 0), [0.5, 0.3, 0.2]), labels=["deer"])
    assert files.merge(*options) == cli.EXIT_OK
    assert files.told() == {"1.jpg": [told]}
    assert files.merged()["classification_categories"] == {
        "0": "bear",
        "1": "deer",
        "2": "fox",
        "1000000": "label: bear",
        "1000001": "label: deer",
        "1000002": "label: fox",
    }


def test_true_labels_alone_can_be_merged(files: Files) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.results.write_text(f"path,label\n{crop('1.jpg', 0)},fox\n")
    assert files.merge("--label", "first") == cli.EXIT_OK
    assert files.told() == {"1.jpg": [[["1000002", 1.0]]]}


def test_d26_a_bare_output_name_is_fine(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results((crop("1.jpg", 0), [1, 0, 0]))
    monkeypatch.chdir(tmp_path)
    files.output = Path("bare.json")
    assert files.merge() == cli.EXIT_OK
    assert (tmp_path / "bare.json").exists()


def test_d27_datasets_leave_out_images_and_crops_of_others(files: Files) -> None:
    files.write_boxes(
        {"a/1.jpg": found(0.9), "b/2.jpg": found(0.8), "3.jpg": found(0.7)}
    )
    files.write_results(
        (crop("a/1.jpg", 0), [1, 0, 0]),
        (crop("b/2.jpg", 0), [0, 1, 0]),
        (crop("3.jpg", 0), [0, 0, 1]),
    )
    assert files.merge("--datasets", "b") == cli.EXIT_OK
    assert files.told() == {"b/2.jpg": [[["1", 1.0]]]}


def test_a_dataset_that_is_not_there_is_refused(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes({"a/1.jpg": found(0.9)})
    files.write_results((crop("a/1.jpg", 0), [1, 0, 0]))
    assert files.refusal(capsys, "-d", "a", "c", "b") == (
        "--datasets: no image of 'b', 'c'"
    )


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ([], "give either --detection-json or --queried-images-json"),
        (
            ["-j", "x", "--relative-conf", "--label-thresholds", "m"],
            "--label-thresholds is for probabilities, --relative-conf tells others",
        ),
        (
            ["-j", "x", "-q", "y"],
            "give either --detection-json or --queried-images-json",
        ),
        (
            ["-q", "y", "-c", "z"],
            "--detector-output-cache-dir and --detector-version go together",
        ),
        (
            ["-j", "x", "-c", "z", "-v", "4.1"],
            "--detector-output-cache-dir goes with --queried-images-json",
        ),
        (["-j", "x", "-s", "3"], "--samples-per-label goes with --queried-images-json"),
        (
            ["-j", "x", "--completion-time", "noon"],
            (
                "argument --completion-time: 'noon' is not \"now\" or a time such as "
                "2022-11-22 20:47:15"
            ),
        ),
        (
            ["-j", "x", "-t", "1.5"],
            "argument -t/--threshold: 1.5 is not between 0 and 1",
        ),
    ],
)
def test_d27_contradicting_options_are_a_usage_error(
    files: Files, capsys: pytest.CaptureFixture[str], options: list[str], fault: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(files.argv(*options))
    assert ended.value.code == cli.EXIT_USAGE
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: {fault}")


@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("suffix", [DETECTOR, "mdv5a.0.0", ""])
def test_d31_d32_every_historic_name_of_a_crop_is_found(
    files: Files, prefix: str, suffix: str
) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results((prefix + crop("1.jpg", 0, suffix), [1, 0, 0]))
    assert files.merge() == cli.EXIT_OK
    assert files.told() == {"1.jpg": [[["0", 1.0]]]}


def test_d33_a_path_that_stands_twice_has_its_row_named(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes({"1.jpg": found(0.9, 0.8)})
    same, other = crop("1.jpg", 1), crop("1.jpg", 0)
    files.write_results((same, [1, 0, 0]), (other, [1, 0, 0]), (same, [0, 1, 0]))
    assert files.refusal(capsys) == (
        f"results.csv: row 4, column path: {same!r} stands twice"
    )


def test_d33_two_names_of_one_box_are_refused(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results(
        (crop("1.jpg", 0), [1, 0, 0]), (crop("1.jpg", 0, ""), [1, 0, 0])
    )
    assert files.refusal(capsys) == (
        "results.csv: row 3, column path: the same box as in row 2"
    )


def test_d41_the_last_crop_in_a_name_counts(files: Files) -> None:
    name = "a___crop07_x.jpg/b___crop01.jpg"
    files.write_boxes({name: found(0.9, 0.8)})
    files.write_results((crop(name, 1), [1, 0, 0]))
    assert files.merge() == cli.EXIT_OK
    assert files.told() == {name: [None, [["0", 1.0]]]}


def test_d48_rows_in_any_order_give_the_same_bytes(files: Files) -> None:
    rng = np.random.default_rng(0)
    images = {f"{index}.jpg": found(*[0.5] * (index % 4)) for index in range(300)}
    rows = [
        (crop(name, box), rng.dirichlet(np.ones(3)).tolist())
        for name, boxes in images.items()
        for box in range(len(boxes))
    ]
    files.write_boxes(images)
    contents = []
    for order in (np.arange(len(rows)), rng.permutation(len(rows))):
        files.write_results(*(rows[index] for index in order))
        assert files.merge() == cli.EXIT_OK
        contents.append(files.output.read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            crop("2.jpg", 0),
            "no image '2.jpg' in the detections; the crops are of other detections",
        ),
        (
            crop("1.jpg", 1),
            "'1.jpg' has no box 1; the crops are of other detections",
        ),
        (
            crop("3.jpg", 0),
            "'3.jpg' has no box 0; the crops are of other detections",
        ),
        ("1.jpg", "'1.jpg' is not the name of a crop"),
        (crop("../1.jpg", 0), f"{crop('../1.jpg', 0)!r} leaves its folder"),
    ],
)
def test_a_crop_of_no_box_is_refused_with_its_row(
    files: Files, capsys: pytest.CaptureFixture[str], path: str, message: str
) -> None:
    files.write_boxes(
        {"1.jpg": found(0.9), "3.jpg": {"detections": None, "failure": "x"}}
    )
    files.results.write_text(
        f"path,bear,deer,fox\n{crop('1.jpg', 0)},0,1,0\n{path},0,1,0\n"
    )
    assert files.refusal(capsys) == f"results.csv: row 3, column path: {message}"


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ("path,bear,deer", [], "results.csv: no column for the category 'fox'"),
        (
            "path,label",
            [],
            "results.csv: no column for the category 'bear', 'deer', 'fox'",
        ),
        (
            "path,label",
            ["--relative-conf", "--label", "first"],
            "results.csv: no column for the category 'bear', 'deer', 'fox'",
        ),
        (
            "path,bear,deer,fox",
            ["--label", "last"],
            "results.csv: --label needs the column label; there is none",
        ),
        (
            "path,bear,deer,fox",
            ["--relative-conf"],
            "results.csv: --relative-conf needs the column label; there is none",
        ),
    ],
)
def test_a_missing_column_is_named(
    files: Files,
    capsys: pytest.CaptureFixture[str],
    header: str,
    options: list[str],
    message: str,
) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.results.write_text(f"{header}\n")
    assert files.refusal(capsys, *options) == message


def test_a_true_label_that_is_no_category_is_refused(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results((crop("1.jpg", 0), [1, 0, 0]), labels=["emu"])
    assert files.refusal(capsys, "--label", "first") == (
        "results.csv: row 2, column label: 'emu' is none of the categories"
    )


def test_classifications_are_not_mixed_with_older_ones(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    files.write_boxes({"1.jpg": found(0.9)}, classification_categories={"0": "emu"})
    files.write_results((crop("1.jpg", 0), [1, 0, 0]))
    assert files.refusal(capsys) == (
        "detections.json: classification_categories: there are classifications already; "
        "merge into the file that run_detector_batch wrote"
    )


def test_a_classifier_output_without_rows_changes_no_image(files: Files) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results()
    assert files.merge() == cli.EXIT_OK
    assert files.told() == {"1.jpg": [None]}


@pytest.mark.parametrize("which", ["results", "names", "boxes"])
def test_a_missing_file_is_one_line(
    files: Files, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    files.write_boxes({"1.jpg": found(0.9)})
    files.write_results()
    path: Path = getattr(files, which)
    path.unlink()
    assert (
        files.refusal(capsys) == f"{path.name}: cannot read: No such file or directory"
    )


@pytest.fixture
def queried(files: Files) -> Files:
    """Two cached data sets and one whose boxes people drew."""
    files.write_cache("caltech", "a/1.jpg", "a/2.jpg", "a/9.jpg")
    files.write_cache("idfg", "3.jpg")
    files.write_queried(
        {
            "caltech/a/1.jpg": None,
            "caltech/a/2.jpg": None,
            "idfg/3.jpg": None,
            "nacti/4.jpg": ["animal", "group"],
            "nacti/5.jpg": [],
        }
    )
    files.write_results(
        (crop("nacti/4.jpg", 1, ""), [0.1, 0.2, 0.7]),
        (crop("idfg/3.jpg", 0, "mdv4.1"), [0.6, 0.2, 0.2]),
        (crop("caltech/a/2.jpg", 1, "mdv4.1"), [0.2, 0.8, 0]),
        (crop("caltech/a/2.jpg", 0, "mdv4.1"), [0.2, 0.8, 0]),
        labels=["fox", "bear", "bear", "deer"],
    )
    return files


def test_d17_d32_training_images_take_boxes_of_cache_and_people(
    queried: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert queried.merge_queried("--label", "last") == cli.EXIT_OK
    merged = queried.merged()
    assert merged["info"] == {
        "format_version": "1.6",
        "detector": CACHED,
        "classifier": "megaclassifier",
    }
    assert merged["detection_categories"] == {**CATEGORIES, "4": "group"}
    deer, bear = [["1", 0.8], ["0", 0.2], ["1000001", 1.0]], [["0", 0.6], ["1", 0.2]]
    assert merged["images"] == [
        {
            "file": "caltech/a/2.jpg",
            "detections": [
                {**found(0.9)[0], "classifications": deer},
                {
                    **found(0.8)[0],
                    "classifications": [["1", 0.8], ["0", 0.2], ["1000000", 1.0]],
                },
            ],
            "meta": 1,
        },
        {
            "file": "idfg/3.jpg",
            "detections": [
                {
                    **found(0.9)[0],
                    "classifications": [*bear, ["2", 0.2], ["1000000", 1.0]],
                },
                *found(0.8),
            ],
            "meta": 1,
        },
        {
            "file": "nacti/4.jpg",
            "detections": [
                {"category": "1", "conf": 1.0, "bbox": BOX},
                {
                    "category": "4",
                    "conf": 1.0,
                    "bbox": BOX,
                    "classifications": [
                        ["2", 0.7],
                        ["1", 0.2],
                        ["0", 0.1],
                        ["1000002", 1.0],
                    ],
                },
            ],
        },
    ]
    assert capsys.readouterr().err == (
        f"{queried.results}: nothing beside it tells which boxes its crops were cut "
        "from; they are taken to be these\n"
        f"wrote {queried.output}: 3 images, 4 boxes classified on 3 of them\n"
    )


def test_d32_both_spellings_of_a_detector_s_crop_are_the_detector_s(
    queried: Files,
) -> None:
    queried.write_results((crop("idfg/3.jpg", 1, CACHED), [0, 1, 0]))
    assert queried.merge_queried() == cli.EXIT_OK
    assert queried.told() == {"idfg/3.jpg": [None, [["1", 1.0]]]}


def test_d35_boxes_drawn_by_people_need_no_cache(queried: Files) -> None:
    queried.write_results((crop("nacti/4.jpg", 0, ""), [0, 1, 0]))
    assert main(queried.argv("-q", str(queried.queried))) == cli.EXIT_OK
    assert queried.told() == {"nacti/4.jpg": [[["1", 1.0]], None]}
    assert queried.merged()["info"] == {
        "format_version": "1.6",
        "classifier": "megaclassifier",
    }


def test_d27_datasets_of_training_images(queried: Files) -> None:
    assert queried.merge_queried("--datasets", "idfg", "nacti") == cli.EXIT_OK
    assert list(queried.told()) == ["idfg/3.jpg", "nacti/4.jpg"]


def test_d27_samples_per_label_are_drawn_whatever_the_order(files: Files) -> None:
    images = [f"ds/{index}.jpg" for index in range(60)]
    files.write_queried({key: ["animal"] for key in images})
    rows = [(crop(name, 0, ""), [0.2, 0.3, 0.5]) for name in images]
    labels = [NAMES[index % 2] for index in range(59)] + ["fox"]
    drawn: list[set[str]] = []
    for step, seed in ((1, 7), (-1, 7), (1, 8)):
        files.write_results(*rows[::step], labels=labels[::step])
        argv = files.argv("-q", str(files.queried), "-s", "5", "--seed", str(seed))
        assert main([*argv, "--label", "first"]) == cli.EXIT_OK
        drawn.append(set(files.told()))
    label_by_image = dict(zip(images, labels, strict=True))
    kept = sorted(label_by_image[name] for name in drawn[0])
    assert kept == ["bear"] * 5 + ["deer"] * 5 + ["fox"]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            crop("idfg/8.jpg", 0, "mdv4.1"),
            "no image 'idfg/8.jpg' among the queried images",
        ),
        (
            crop("caltech/a/1.jpg", 0, ""),
            (
                "a crop of a box that a person drew, but 'caltech/a/1.jpg' has none in "
                "the queried images"
            ),
        ),
        (
            crop("nacti/4.jpg", 2, ""),
            "'nacti/4.jpg' has no box 2; the crops are of other detections",
        ),
        (
            crop("idfg/3.jpg", 1, ""),
            "'idfg/3.jpg' has crops of boxes that people drew and of others",
        ),
    ],
)
def test_a_training_crop_of_no_box_is_refused_with_its_row(
    queried: Files, capsys: pytest.CaptureFixture[str], path: str, message: str
) -> None:
    queried.write_results(
        (crop("idfg/3.jpg", 0, "mdv4.1"), [1, 0, 0]), (path, [1, 0, 0])
    )
    assert queried.refusal(capsys, queried=True) == (
        f"results.csv: row 3, column path: {message}"
    )


def test_an_image_that_the_cache_lacks_is_refused(
    queried: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    queried.write_cache("idfg", "4.jpg")
    assert queried.refusal(capsys, queried=True) == (
        "results.csv: row 3, column path: no image 'idfg/3.jpg' in the detection cache"
    )


def test_a_missing_cache_names_the_command_that_writes_it(
    queried: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    (queried.cache / "v4.1/idfg.json").unlink()
    assert queried.refusal(capsys, queried=True) == (
        "mdcache/v4.1/idfg.json: no such file; cache_batchapi_outputs writes it from the "
        "dataset's detections"
    )


def test_caches_of_two_detectors_are_refused(
    queried: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    queried.write_cache("idfg", "3.jpg", detector="other")
    assert queried.refusal(capsys, queried=True) == (
        "mdcache/v4.1/idfg.json: info.detector: 'other', but mdcache/v4.1/caltech.json "
        "is of 'megadetector_v4.1'"
    )


def test_d29_caches_may_number_their_categories_as_they_like(queried: Files) -> None:
    boxes = [{**found(conf)[0], "category": "2"} for conf in (0.9, 0.8)]
    boxes[0]["classifications"] = [["7", 0.5]]  # of another classifier
    header = detections.Header(
        detection_categories={"2": "animal", "3": "person"},
        info={"format_version": "1.6", "detector": CACHED},
        classification_categories={"7": "puma"},
    )
    document = json.dumps({"file": "3.jpg", "detections": boxes}).encode()
    detection_cache.write(queried.cache, "4.1", "idfg", header, [document])
    rows = [
        (crop(name, 1, CACHED), [0, 1, 0]) for name in ("idfg/3.jpg", "caltech/a/2.jpg")
    ]
    queried.write_results(*rows)
    assert queried.merge_queried() == cli.EXIT_OK
    merged = queried.merged()
    assert merged["detection_categories"] == CATEGORIES
    boxes = [box for image in merged["images"] for box in image["detections"]]
    assert [box["category"] for box in boxes] == ["1"] * 4
    said = [None, [["1", 1.0]]]
    assert queried.told() == {"caltech/a/2.jpg": said, "idfg/3.jpg": said}


def test_a_needed_cache_that_is_not_named_is_asked_for(
    queried: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(queried.argv("-q", str(queried.queried))) == cli.EXIT_FAILED
    assert capsys.readouterr().err == (
        "error: there are crops of a detector's boxes; name the detection cache with "
        "--detector-output-cache-dir and --detector-version\n"
    )


def test_a_sample_needs_labels(
    queried: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    queried.write_results((crop("idfg/3.jpg", 0, "mdv4.1"), [1, 0, 0]))
    assert queried.refusal(capsys, "-s", "3", queried=True) == (
        "results.csv: --samples-per-label needs the column label"
    )


ORACLE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from megadetector.classification import {module}
{module}.main(**json.loads(sys.argv[1]))
"""


def run_oracle(module: str, **arguments: object) -> None:
    """Runs the original's command in a process of its own; it keeps global state."""
    pytest.importorskip("megadetector")
    text = json.dumps(arguments, default=str)
    command = [sys.executable, "-c", ORACLE.format(module=module), text]
    ended = subprocess.run(command, check=False, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()


def assert_same(one: Any, other: Any, where: str = "") -> None:  # noqa: ANN401 - JSON
    """Compares JSON; numbers may differ by 1e-6."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            assert_same(value, other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}[{index}]")
    elif isinstance(one, float):
        assert abs(one - other) <= 1e-6, where
    else:
        assert one == other, where


def assert_same_merge(ours: Any, theirs: Any) -> None:  # noqa: ANN401 - JSON
    theirs["info"].pop("classification_completion_time")
    theirs["info"].setdefault("format_version", "1.6")
    for document in (ours, theirs):
        document["images"].sort(key=lambda image: image["file"])
    assert_same(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["-t", "0"], ["-t", "0.3"]])
def test_new_images_are_merged_as_by_the_original(
    files: Files, tmp_path: Path, options: list[str]
) -> None:
    rng = np.random.default_rng(1)
    images = {f"s/{index}.jpg": found(*[0.5] * (index % 4)) for index in range(80)}
    paths = [
        crop(name, box) for name, boxes in images.items() for box in range(len(boxes))
    ]
    numbers = rng.dirichlet(np.full(5, 0.3), len(paths)).astype(np.float32)
    raw, index = tmp_path / "raw.csv", tmp_path / "index.json"
    mapping = tmp_path / "mapping.json"
    predictions.write(raw, "edcba", [(paths, numbers)])
    target_mapping.write(mapping, {"y": ["a"], "other": ["c", "e"], "x": ["b", "d"]})
    aggregate = [str(raw), "-t", str(mapping), "-o", str(files.results)]
    assert aggregate_classifier_probs.main([*aggregate, "-i", str(index)]) == 0
    theirs_csv, theirs_index = (
        tmp_path / "t/theirs.csv",
        tmp_path / "t/theirs_index.json",
    )
    theirs_csv.parent.mkdir()
    run_oracle(
        "aggregate_classifier_probs",
        classifier_results_csv_path=raw,
        target_mapping_json_path=mapping,
        output_csv_path=theirs_csv,
        output_label_index_json_path=theirs_index,
    )
    assert label_index.read(theirs_index) == label_index.read(index)
    for one, other in zip(
        predictions.open_file(files.results).float64_batches(),
        predictions.open_file(theirs_csv).float64_batches(),
        strict=True,
    ):
        assert one.paths == other.paths
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-6)
    files.write_boxes(images)
    files.names = index
    assert files.merge(*options) == cli.EXIT_OK
    theirs = tmp_path / "t/merged.json"
    merge_by_original(files, theirs, options, detection_json_path=files.boxes)
    assert_same_merge(files.merged(), json.loads(theirs.read_bytes()))


def merge_by_original(
    files: Files, output: Path, options: list[str], **arguments: object
) -> None:
    run_oracle(
        "merge_classification_detection_output",
        **{
            "classification_csv_path": files.results,
            "label_names_json_path": files.names,
            "output_json_path": output,
            "classifier_name": "megaclassifier",
            "threshold": float(options[options.index("-t") + 1])
            if "-t" in options
            else 0.1,
            "datasets": None,
            "detection_json_path": None,
            "queried_images_json_path": None,
            "detector_output_cache_base_dir": None,
            "detector_version": None,
            "samples_per_label": None,
            "seed": 123,
            "label_pos": options[options.index("--label") + 1]
            if "--label" in options
            else None,
            "relative_conf": "--relative-conf" in options,
            "typical_confidence_threshold": None,
            **arguments,
        },
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--label", "first"],
        ["--label", "last", "-t", "0"],
        ["--relative-conf"],
        ["--relative-conf", "--label", "last"],
    ],
)
def test_training_images_are_merged_as_by_the_original(
    queried: Files, tmp_path: Path, options: list[str]
) -> None:
    # The original needs a cache even here, and no other categories than the cache's.
    queried.write_cache("nacti")
    queried.write_queried(
        {
            "caltech/a/2.jpg": None,
            "idfg/3.jpg": None,
            "nacti/4.jpg": ["animal", "person"],
        }
    )
    assert queried.merge_queried(*options) == cli.EXIT_OK
    theirs = tmp_path / "t/merged.json"
    theirs.parent.mkdir()
    merge_by_original(
        queried,
        theirs,
        options,
        queried_images_json_path=queried.queried,
        detector_output_cache_base_dir=queried.cache,
        detector_version="4.1",
    )
    assert_same_merge(queried.merged(), json.loads(theirs.read_bytes()))


VALIDATE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from megadetector.postprocessing.validate_batch_results import validate_batch_results
results = validate_batch_results(sys.argv[1])["validation_results"]
print(json.dumps(results), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["new", "queried"])
def test_the_field_s_own_validator_finds_no_error(queried: Files, mode: str) -> None:
    pytest.importorskip("megadetector")
    if mode == "new":
        queried.write_boxes(
            {
                "1.jpg": found(0.9, 0.5),
                "2.jpg": [],
                "3.jpg": {"detections": None, "failure": "truncated"},
            }
        )
        queried.write_results((crop("1.jpg", 1), [0.2, 0.8, 0]))
        predictions_info.tell(queried.results, CALIBRATED)
        assert queried.merge("--completion-time", "now") == cli.EXIT_OK
        assert "classifier_metadata" in queried.merged()["info"]
    else:
        assert queried.merge_queried("--label", "last") == cli.EXIT_OK
    command = [sys.executable, "-c", VALIDATE, str(queried.output)]
    run = subprocess.run(command, check=True, capture_output=True)
    results = msgspec.json.decode(run.stderr.splitlines()[-1])
    assert (results["errors"], results["warnings"]) == ([], [])


def test_names_of_windows_are_merged_and_written_with_slashes(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.write_boxes({"x\\a.jpg": found(0.9)})
    files.write_results((crop("x/a.jpg", 0), [0.2, 0.7, 0.1]))
    assert files.merge() == 0
    assert list(files.told()) == ["x/a.jpg"]
    assert files.told()["x/a.jpg"][0][0] == ["1", 0.7]
