"""No command writes over what it should not: each output flag of each command is tried."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from classification.runtime import cli
from classification.runtime.outputs import Output
from tests.commands import COMMANDS, ROOT, command, parser
from tests.world import jpeg_bytes, photograph

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

GOLDEN = ROOT / "tests/golden"
DATABASE = b"SQLite format 3\0"
JOURNAL = b"ct-journal 1 5f0c\n"
PAGE = (ROOT / "classification/reports/base.html.j2").read_bytes()[:300]
MANIFEST = b'{"format": "cameratraps-classifier 1", "labels": []}'
MODEL = b"\x08\x08\x12\x07pytorch"
INCLUDED = b"{'bear': {('caltech', 'black bear')}}"

DETECTIONS = "detections.json"
PREDICTIONS = "classifier_output.csv.gz"
LABELS = "label_index.json"
MAPPING = "target_to_classifier_labels.json"
COUNTS = "image_counts_by_label.json"


@dataclass(frozen=True)
class Line:
    """A command line, and all that it writes under a name known beforehand.

    Attributes:
        words: ``in/`` holds the golden files, and pictures in ``in/images``; every file
            named there is an input.
        files: the golden file, or the bytes, of what it writes to each path.
        folders: other outputs: flags whose folder gets no file of a fixed name.
        amends: reads what is there, and adds to it; there is no ``--overwrite``.
    """

    words: str
    files: dict[str, str | bytes] = field(default_factory=dict)
    folders: str = ""
    amends: bool = False

    @property
    def overwriting(self) -> str:
        return self.words if self.amends else f"{self.words} --overwrite"


LINES: dict[str, list[Line]] = {
    "classification.aggregate_classifier_probs": [
        Line(
            f"in/{PREDICTIONS} -t in/{MAPPING} -o out/o.csv.gz -i out/labels.json",
            {"out/o.csv.gz": PREDICTIONS, "out/labels.json": LABELS},
        )
    ],
    "classification.analyze_failed_images": [
        Line(
            "in/images.txt -i in/images -o out/o.csv", {"out/o.csv": "image_status.csv"}
        )
    ],
    "classification.cache_batchapi_outputs": [
        Line(
            f"in/{DETECTIONS} -d ds -c out/cache --logdir out/logs",
            folders="out/cache out/logs",
            amends=True,
        )
    ],
    "classification.calibrate_classifier": [
        Line("in/classifier_output.csv in/model.onnx", amends=True)
    ],
    "classification.check_device": [Line("", amends=True)],
    "classification.create_classification_dataset": [
        Line(
            "out --mode csv -q in/queried_images.json -c in/images --logdir out/logs",
            {
                "out/classification_ds.csv": "classification_ds.csv",
                "out/classification_ds_left_out.csv": "classification_ds_left_out.csv",
                "out/label_index.json": LABELS,
            },
            folders="out/logs",
        ),
        Line(
            "out --mode splits --val-frac 0.2 --match-test in/classification_ds.csv in/splits.json",
            {
                "out/splits.json": "splits.json",
                "out/splits_summary.csv": "splits_summary.csv",
            },
        ),
    ],
    "classification.crop_detections": [
        Line(
            f"in/{DETECTIONS} out/crops -i in/images --logdir out/logs",
            folders="out/crops out/logs",
        )
    ],
    "classification.csv_to_json": [
        Line("in/label_spec.csv out/o.json", {"out/o.json": "label_spec.json"})
    ],
    "classification.detect_and_crop": [
        Line(
            "in/queried_images.json out/run -c out/cache -v 4.1 -d -p out/crops -i in/images",
            {"out/run/detect_and_crop.journal": JOURNAL},
            folders="out/run out/cache out/crops",
        ),
        Line(
            "in/queried_images.json out/run -c out/cache -v 4.1 -d -r out/resume.json",
            {"out/resume.json": JOURNAL},
        ),
        Line(
            "in/queried_images.json out/run -c out/cache -v 4.1 -d -r out/tasks.json "
            "--batch-api http://127.0.0.1:9",
            {"out/tasks.json": "detect_and_crop_tasks.json"},
        ),
        Line(
            "in/queried_images.json out/run -c out/cache -v 4.1 -d --shard 2/3",
            {"out/run/detect_and_crop.shard-002-of-003.journal": JOURNAL},
        ),
    ],
    "classification.download_images": [
        Line(
            "txt in/images.txt out/store -i in/images --logdir out/logs",
            folders="out/store out/logs",
            amends=True,
        )
    ],
    "classification.evaluate_model": [
        Line(
            "in/params.json in/model.onnx -o out --splits val test "
            f"--target-mapping in/{MAPPING} --label-index in/{LABELS}",
            {
                "out/overall_metrics.csv": "overall_metrics.csv",
                "out/label_stats.csv": "label_stats.csv",
                "out/location_stats.csv": "location_stats.csv",
                "out/confusion_matrices.npz": "confusion_matrices.npz",
                "out/metrics.json": "metrics.json",
                "out/outputs_val.csv.gz": PREDICTIONS,
                "out/outputs_test.csv.gz": PREDICTIONS,
                "out/label_index.json": LABELS,
                "in/model_compiled.pt": MODEL,
                "in/model_compiled.manifest.json": MANIFEST,
            },
        )
    ],
    "classification.export_model": [
        Line(
            "in/checkpoint.pt out/m.onnx out/n.pt --params-json in/params.json",
            {
                "out/m.onnx": MODEL,
                "out/m.manifest.json": MANIFEST,
                "out/n.manifest.json": MANIFEST,
            },
        )
    ],
    "classification.fit_detector_calibration": [
        Line(
            f"in/{DETECTIONS} in/detection_cache.json -o out/o.npz",
            {"out/o.npz": "isotonic_calibration.npz"},
        ),
        Line(
            f"in/{DETECTIONS} in/detection_cache.json",
            {"isotonic_calibration.npz": "isotonic_calibration.npz"},
        ),
    ],
    "classification.identify_mislabeled_candidates": [
        Line(
            "out --splits test",
            {"out/mislabeled_candidates.csv": "mislabeled_candidates.csv"},
        )
    ],
    "classification.import_metadata": [
        Line(
            "in/images --megadb out/megadb --logdir out/logs",
            folders="out/megadb out/logs",
            amends=True,
        )
    ],
    "classification.json_to_azcopy_list": [
        Line("in/queried_images.json out/lists", folders="out/lists")
    ],
    "classification.json_validator": [
        Line(
            "in/label_spec.json in/taxonomy.csv --megadb in -o out",
            {
                "out/queried_images.json": "queried_images.json",
                "out/included_dataset_labels.txt": INCLUDED,
                "out/image_counts_by_label_presample.json": COUNTS,
                "out/image_counts_by_label_sampled.json": COUNTS,
                "out/queried_images_counts.csv": "queried_images_counts.csv",
            },
        )
    ],
    "classification.map_classification_categories": [
        Line(
            f"in/label_spec.json in/label_spec.json in/taxonomy.csv -i in/{LABELS} -o out/o.json",
            {"out/o.json": MAPPING},
        )
    ],
    "classification.merge_classification_detection_output": [
        Line(
            f"in/{PREDICTIONS} in/{LABELS} -n x -j in/{DETECTIONS} -o out/o.json",
            {"out/o.json": DETECTIONS},
        )
    ],
    "classification.merge_shards": [
        Line("out/o.json", {"out/o.json": DETECTIONS}),
        Line("out/o.csv.gz", {"out/o.csv.gz": PREDICTIONS}),
    ],
    "classification.propose_label_spec": [
        Line(
            "in/taxonomy.csv --megadb in -o out/o.json",
            {"out/o.json": "label_spec.json"},
        )
    ],
    "classification.quickstart": [
        Line(
            "-i in/images -o out",
            {
                "out/detections.json": DETECTIONS,
                "out/classifier_output.csv.gz": PREDICTIONS,
                "out/groups.json": MAPPING,
                "out/broad_groups.json": MAPPING,
                "out/group_output.csv.gz": PREDICTIONS,
                "out/group_labels.json": LABELS,
                "out/detections_with_classifications.json": DETECTIONS,
                "out/index.html": PAGE,
            },
        )
    ],
    "classification.report_dataset": [
        Line(
            "out in/images --compare-splits in/splits.json --logdir out/logs",
            {"out/dataset_report.html": PAGE},
            folders="out/logs",
        ),
        Line("in in/images -o out/o.html", {"out/o.html": PAGE}),
    ],
    "classification.report_results": [
        Line("out", {"out/results_report.html": PAGE}),
        Line("in -o out/o.html --manifest in/params.json", {"out/o.html": PAGE}),
    ],
    "classification.review_mislabeled": [
        Line(
            "in/mislabeled_candidates.csv in/images -o out/o.html", {"out/o.html": PAGE}
        )
    ],
    "classification.run_classifier": [
        Line(
            f"in/model.onnx in/images out/o.csv.gz -d in/{DETECTIONS} -c in/{LABELS} "
            "--logdir out/logs",
            {"out/o.csv.gz": PREDICTIONS, "out/o.csv.gz.journal": JOURNAL},
            folders="out/logs",
        ),
        Line(
            "in/model.onnx in/images out/o.csv --shard 1/2",
            {
                "out/o.shard-001-of-002.csv": PREDICTIONS,
                "out/o.shard-001-of-002.csv.journal": JOURNAL,
            },
        ),
    ],
    "classification.save_mislabeled": [
        Line("out/container in/timelapse.csv", folders="out/container", amends=True)
    ],
    "classification.train_classifier": [
        Line(
            "in in/images --epochs 1 --logdir out/logs --crop-cache out/cache",
            folders="out/logs out/cache",
            amends=True,
        )
    ],
    "detection.batch_service": [
        Line(
            "in/model.onnx out/tasks",
            {"out/tasks/tasks.sqlite": DATABASE},
            folders="out/tasks",
            amends=True,
        )
    ],
    "detection.run_detector_batch": [
        Line(
            "in/model.onnx in/images out/o.json --logdir out/logs",
            {"out/o.json": DETECTIONS, "out/o.json.journal": JOURNAL},
            folders="out/logs",
        ),
        Line(
            "in/model.onnx in/images out/o.json --checkpoint_path out/c.json",
            {"out/o.json": DETECTIONS, "out/c.json": JOURNAL},
        ),
        Line(
            "in/model.onnx in/images out/o.json --resume_from_checkpoint out/c.json",
            {"out/o.json": DETECTIONS, "out/c.json": JOURNAL},
        ),
        Line(
            "in/model.onnx in/images out/o.json --shard 1/2",
            {
                "out/o.shard-001-of-002.json": DETECTIONS,
                "out/o.shard-001-of-002.json.journal": JOURNAL,
            },
        ),
    ],
    "taxonomy.taxonomy_csv_checker": [Line("in/taxonomy.csv", amends=True)],
}
ALL = [(name, line) for name, lines in LINES.items() for line in lines]
FILES = [(name, line, path) for name, line in ALL for path in line.files]
FOLDERS = [(name, line, path) for name, line in ALL for path in line.folders.split()]
PICTURE = jpeg_bytes(photograph(60, 40))


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in/images").mkdir(parents=True)
    for path in GOLDEN.iterdir():
        shutil.copy(path, tmp_path / "in")
    (tmp_path / "in/images.txt").write_text("a.jpg\nb.jpg\n")
    (tmp_path / "in/checkpoint.pt").write_bytes(b"PK\x03\x04")
    (tmp_path / "in/model.onnx").write_bytes(MODEL)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in/images" / name).write_bytes(PICTURE)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/c.json").write_bytes(JOURNAL)
    monkeypatch.chdir(tmp_path)


def outputs_of(name: str) -> list[argparse.Action]:
    return [one for one in parser(name)._actions if isinstance(one.type, Output)]


def parse(name: str, words: str) -> argparse.Namespace:
    """Parses a line as the command's main does."""
    module = command(name)
    parsed: argparse.Namespace = cli.parse(
        module.build_parser(), module.Arguments(), words.split()
    )
    return parsed


def refusal(name: str, words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Gives a line to the command, which is to refuse it; returns what it says."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command(name).main(words.split())
    shown = capsys.readouterr().err
    assert ended.value.code == cli.EXIT_FAILED, shown
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    return shown


def state(folder: Path) -> dict[str, tuple[str, bytes]]:
    def entries() -> Iterator[tuple[str, tuple[str, bytes]]]:
        for path in sorted(folder.rglob("*")):
            link = str(path.readlink()) if path.is_symlink() else ""
            yield str(path), (link, path.read_bytes() if path.is_file() else b"")

    return dict(entries())


def put(path: str, content: str | bytes, tmp_path: Path) -> Path:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else (GOLDEN / content).read_bytes()
    file.write_bytes(data)
    return file


def test_every_command_is_in_the_table() -> None:
    assert set(LINES) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_output_flag_is_in_the_table(name: str) -> None:
    named = set()
    for line in LINES[name]:
        args = parse(name, line.words)
        given = {*line.files, *line.folders.split(), "out"}
        for action in outputs_of(name):
            value = getattr(args, action.dest)
            values = value if isinstance(value, list) else [value]
            if {str(one) for one in values} & given:
                named.add(action.dest)
    assert {action.dest for action in outputs_of(name)} == named


SOUNDS = (
    "output",
    "_dir",
    "logdir",
    "cache",
    "journal",
    "resume",
    "checkpoint",
    "store",
)
# What sounds like an output, and is read.
INPUTS = {
    "classification.report_dataset": {"base_logdir"},
    "classification.create_classification_dataset": {
        "cropped_images_dir",
        "detector_output_cache_dir",
    },
    "classification.merge_classification_detection_output": {
        "detector_output_cache_dir"
    },
    "classification.report_results": {"logdir", "dataset_dir"},
    "classification.evaluate_model": {"dataset_dir", "cropped_images_dir"},
    "classification.train_classifier": {
        "dataset_dir",
        "cropped_images_dir",
        "resume",
        "crop_cache_gb",
    },
    "classification.run_classifier": {"crops_dir"},
    "classification.download_images": {"check_existing_dir"},
    "classification.calibrate_classifier": {"outputs_csv"},
    "classification.export_model": {"checkpoint"},
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_sounds_like_an_output_is_declared_as_one(name: str) -> None:
    outputs = {action.dest for action in outputs_of(name)}
    sounding = {
        action.dest
        for action in parser(name)._actions
        if action.nargs != 0
        and not isinstance(action.default, int | float)
        and any(sound in action.dest for sound in SOUNDS)
    }
    known = INPUTS.get(name, set()) | {"images_dir"}
    assert sounding - outputs - known == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_who_replaces_files_has_a_way_out(name: str) -> None:
    module = command(name)
    replaces = any(not line.amends for line in LINES[name])
    own = {"classification.cache_batchapi_outputs", "classification.save_mislabeled"}
    has_flag = "overwrite" in module.Arguments.__annotations__
    assert has_flag == (replaces or name in own)


@pytest.mark.parametrize(("name", "line"), ALL)
def test_nothing_is_there_yet(name: str, line: Line, tmp_path: Path) -> None:
    before = state(tmp_path)
    parse(name, line.words)
    assert state(tmp_path) == before


@pytest.mark.parametrize(("name", "line", "path"), FILES)
def test_files_of_other_kinds_are_refused_and_untouched(
    name: str,
    line: Line,
    path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = line.files[path]
    others: list[str | bytes] = [PICTURE, b"a.jpg\nb.jpg\n", b"[1]", b"a,b\n1,2\n"]
    others += [one for one in (DETECTIONS, LABELS, "splits.json") if one != own]
    others += [one for one in (PREDICTIONS, "label_stats.csv") if one != own]
    for other in others:
        file = put(path, other, tmp_path)
        before = state(tmp_path)
        shown = refusal(name, line.words, capsys)
        if own in {JOURNAL, DATABASE, "detect_and_crop_tasks.json"}:
            assert f"{path} is not a " in shown
            refusal(name, line.overwriting, capsys)
        else:
            assert f"{path} exists and is no " in shown
            assert "--overwrite" in shown
            parse(name, line.overwriting)
        assert state(tmp_path) == before
        file.unlink()


@pytest.mark.parametrize(("name", "line", "path"), FILES)
def test_an_earlier_output_and_an_empty_file_are_replaced(
    name: str, line: Line, path: str, tmp_path: Path
) -> None:
    put(path, line.files[path], tmp_path)
    parse(name, line.words)
    put(path, b"", tmp_path)
    parse(name, line.words)


def inputs_of(words: str) -> list[str]:
    named = [word for word in words.split() if word.startswith("in/")]
    return [word for word in named if os.path.isfile(word)]  # noqa: PTH113


@pytest.mark.parametrize(("name", "line", "path"), FILES)
@pytest.mark.parametrize("how", ["path", "link", "hard link", "dotted path"])
def test_an_input_is_refused_and_untouched(
    name: str, line: Line, path: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path = Path.cwd()
    for source in inputs_of(line.words):
        words = line.words
        if how in {"path", "dotted path"}:
            if path not in words.split():
                continue
            dotted = f"in/../{source}" if how == "dotted path" else source
            words = words.replace(path, dotted)
            if name.endswith(("run_classifier", "export_model")):
                continue  # another ending is a usage error
        else:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).unlink(missing_ok=True)
            if how == "link":
                (tmp_path / path).symlink_to(tmp_path / source)
            else:
                (tmp_path / path).hardlink_to(tmp_path / source)
        before = state(tmp_path)
        for flag in ("",) if line.amends else ("", " --overwrite"):
            shown = refusal(name, words + flag, capsys)
            assert "is an input of this command" in shown
        assert state(tmp_path) == before


@pytest.mark.parametrize(("name", "line"), ALL)
def test_two_outputs_are_two_files(
    name: str, line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in line.files:
        for other in [*line.files, *line.folders.split()]:
            if one == other or f"resume_from_checkpoint {one}" in line.words:
                continue  # which names a file that is there
            for path in (one, other):
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / one).unlink(missing_ok=True)
            (tmp_path / one).symlink_to(tmp_path / other)
            shown = refusal(name, line.overwriting, capsys)
            assert "are the same file" in shown or "is a folder" in shown
            (tmp_path / one).unlink()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "classification.aggregate_classifier_probs",
            f"in/{PREDICTIONS} -t in/{MAPPING} -o out/o.csv -i out/O.CSV",
        ),
        (
            "detection.run_detector_batch",
            "in/model.onnx in/images out/o.json --checkpoint_path out/./O.json",
        ),
        ("classification.export_model", "in/checkpoint.pt out/a.onnx out/a.pt"),
        ("classification.export_model", "in/checkpoint.pt out/a.onnx out/a.onnx"),
        (
            "classification.crop_detections",
            f"in/{DETECTIONS} out/x -i in/images --logdir in/{DETECTIONS}",
        ),
    ],
)
def test_two_names_that_a_disk_takes_for_one_are_refused(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(tmp_path)
    refusal(name, words, capsys)
    assert state(tmp_path) == before


@pytest.mark.parametrize(("name", "line", "path"), FOLDERS)
def test_a_file_is_no_folder(
    name: str,
    line: Line,
    path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(path, PICTURE, tmp_path)
    before = state(tmp_path)
    assert "is a file; a folder is needed" in refusal(name, line.words, capsys)
    assert state(tmp_path) == before


@pytest.mark.parametrize(("name", "line", "path"), FILES)
def test_streams_devices_and_folders_are_refused(
    name: str,
    line: Line,
    path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / "pipe")
    places = ("/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/null", "pipe", "in")
    for place in () if "resume_from_checkpoint" in line.words else places:
        if place == "in" and name.endswith("merge_shards"):
            continue  # a cache's folder
        (tmp_path / path).unlink(missing_ok=True)
        (tmp_path / path).symlink_to(tmp_path / place)  # absolute ones stay so
        shown = refusal(name, line.overwriting, capsys)
        what = "is a folder" if place == "in" else "not a plain file"
        assert what in shown
        (tmp_path / path).unlink()


def test_overwrite_spares_the_folder_that_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(tmp_path)
    words = "in/model.onnx in/images in/images/b.jpg"
    for flag in ("", " --overwrite"):
        refusal("detection.run_detector_batch", words + flag, capsys)
    assert state(tmp_path) == before


@pytest.mark.parametrize("handling", ["skip", "error"])
def test_what_is_not_written_is_not_looked_at(handling: str, tmp_path: Path) -> None:
    put("out/o.json", PICTURE, tmp_path)
    words = f"in/model.onnx in/images out/o.json --overwrite_handling {handling}"
    parse("detection.run_detector_batch", words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "detection.run_detector_batch",
            "in/model.onnx in/images/a.jpg in/images/b.jpg out/o.json",
        ),
        (
            "classification.csv_to_json",
            "in/label_spec.csv in/left_out.csv in/mislabeled.csv",
        ),
        (
            "classification.crop_detections",
            f"in/{DETECTIONS} out/crops -i in/images in/images/a.jpg in/images/b.jpg",
        ),
    ],
)
def test_a_pattern_that_the_shell_spelled_out_is_said_so(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(tmp_path)
    with pytest.raises(SystemExit) as ended:
        command(name).main(words.split())
    assert ended.value.code == cli.EXIT_USAGE
    assert "the shell put the list of its files in its place" in capsys.readouterr().err
    assert state(tmp_path) == before
