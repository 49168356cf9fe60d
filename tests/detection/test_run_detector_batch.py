from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from classification import merge_shards
from classification.artifacts import detections, image_contents
from classification.runtime.contents import Contents, Stamp, digest
from classification.runtime.journal import Journal
from classification.runtime.model_digest import digest_of
from classification.storage.anywhere import AnywhereStore
from detection import run_detector_batch
from detection.records import MEGADETECTOR_CATEGORIES
from detection.run_detector_batch import main
from tests import world
from tests.commands import ROOT
from tests.detection.detectors.graphs import red_detector


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return red_detector(tmp_path_factory.mktemp("model") / "md_red_v9.0.onnx")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images, ever redder, two of them in a folder."""
    names = ("a.jpg", "b.JPG", "c.png", "sub/d.jpg", "sub/e.jpg")
    for number, name in enumerate(names):
        image = Image.new("RGB", (80, 60), (50 * number, 90, 90))
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=95)
    return tmp_path / "photos"


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def last_log(folder: Path) -> dict[str, Any]:
    logs = folder.glob("run_detector_batch_log_*.json")
    return read(max(logs, key=lambda path: path.stat().st_mtime_ns))


def run(network: Path, images: Path, output: Path, *flags: str) -> int:
    return main([str(network), str(images), str(output), *flags])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_a_folder_becomes_detections(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "detections.json"
    flags = ("--recursive", "--output_relative_filenames", "--threshold", "0.15")
    assert run(network, folder, output, *flags) == 0
    document = read(output)
    assert list(document) == ["info", "detection_categories", "images"]
    assert document["info"] == {"format_version": "1.6", "detector": network.name}
    assert document["detection_categories"] == MEGADETECTOR_CATEGORIES
    names = [image["file"] for image in document["images"]]
    assert names == ["a.jpg", "b.JPG", "c.png", "sub/d.jpg", "sub/e.jpg"]
    first, second, *_ = document["images"]
    assert first == {"file": "a.jpg", "detections": []}
    (box,) = second["detections"]
    assert list(box) == ["category", "conf", "bbox"]
    assert box["category"] == "1"
    assert 0.15 < box["conf"] < 0.35
    confidences = [image["detections"][0]["conf"] for image in document["images"][1:]]
    assert confidences == sorted(confidences)
    assert {path.suffix for path in output.parent.iterdir()} == {".json", ".gz"}
    shown = last_line(capsys)
    assert re.fullmatch(
        rf"{re.escape(str(output))}: 5 images, 4 boxes of at least 0\.15 in 4 of them, "
        rf"0 images failed; [\d.]+ images/s; log: {re.escape(str(output.parent))}/"
        r"run_detector_batch_log_\d{8}_\d{6}\.json",
        shown,
    )


def test_d31_names_are_relative_and_the_detector_is_named(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.json"
    assert run(network, folder, output, "--output-relative-filenames") == 0
    opened = detections.open_file(output)
    assert opened.image_count == 3
    assert opened.header.detector == network.name
    assert [image.file for image in opened.images()] == ["a.jpg", "b.JPG", "c.png"]


@pytest.mark.slow
def test_the_independent_validator_finds_no_error(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    validate = pytest.importorskip("megadetector.postprocessing.validate_batch_results")
    (folder / "broken.jpg").write_bytes(b"x")
    Image.new("RGB", (80, 60), (255, 0, 0)).save(folder / "red.png")
    output = tmp_path / "o.json"
    flags = "--include_image_size --include_image_timestamp --include_max_conf"
    tags = ("--include_exif_tags", "all", "--completion-time", "now")
    assert run(network, folder, output, "--recursive", *flags.split(), *tags) == 0
    found = validate.validate_batch_results(str(output))["validation_results"]
    assert found["errors"] == []
    assert found["warnings"] == []


def test_the_same_input_gives_the_same_bytes(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    outputs = []
    for number, workers in enumerate(("1", "2", "4")):
        output = tmp_path / f"{number}.json"
        assert run(network, folder, output, "--loader_workers", workers) == 0
        outputs.append(output.read_bytes())
    assert len(set(outputs)) == 1


def test_more_can_be_said_of_each_image(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "RECONYX"
    exif.get_ifd(0x8769)[0x9003] = "2022:11:22 20:47:15"
    path = tmp_path / "a.jpg"
    Image.new("RGB", (80, 60), (255, 0, 0)).save(path, exif=exif)
    flags = "--include_image_size --include_image_timestamp --include_max_conf"
    output = tmp_path / "o.json"
    tags = ("--include_exif_tags", "Make,datetimeoriginal")
    assert run(network, path, output, *flags.split(), *tags) == 0, capsys.readouterr()
    (image,) = read(output)["images"]
    (box,) = image.pop("detections")
    assert image == {
        "file": str(path),
        "max_detection_conf": box["conf"],
        "width": 60,
        "height": 80,
        "datetime": "2022:11:22 20:47:15",
        "exif_metadata": {"DateTimeOriginal": "2022:11:22 20:47:15", "Make": "RECONYX"},
    }


def save_bad_images(folder: Path) -> None:
    good = world.photograph(64, 48)
    (folder / "truncated.jpg").write_bytes(world.jpeg_bytes(good)[:900])
    (folder / "zero.jpg").touch()
    (folder / "letter.jpg").write_text("Dear Sir")
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(world.jpeg_bytes(good))
    good.convert("CMYK").save(folder / "cmyk.jpg")
    good.convert("P").save(folder / "palette.png")
    wide = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)
    Image.fromarray(wide).save(folder / "wide.png")
    good.save(folder / "moving.gif", save_all=True, append_images=[good.rotate(90)])
    Image.new("1", (9000, 9000)).save(folder / "bomb.png")
    Image.new("RGB", (1, 5000)).save(folder / "thin.png")


def test_bad_images_are_listed_and_the_run_goes_on(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    save_bad_images(folder)
    output = tmp_path / "o.json"
    flags = ("--output_relative_filenames", "--batch_size", "3", "--recursive")
    assert run(network, folder, output, *flags) == 0
    images = {image["file"]: image for image in read(output)["images"]}
    reasons = {
        name: image["failure"] for name, image in images.items() if "failure" in image
    }
    assert all(images[name]["detections"] is None for name in reasons)
    truncated = reasons.pop("truncated.jpg")
    assert truncated.startswith("cannot decode: image file is truncated")
    assert reasons == {
        "bomb.png": "9000 x 9000 pixels are more than 50000000 (--max-pixels)",
        "caf%E9.jpg": "its name is not UTF-8; rename it",
        "dangling.jpg": "no such file",
        "folder.jpg": "a folder, not a file",
        "letter.jpg": "not an image file",
        "pipe.jpg": "a pipe or a device, not a file",
        "zero.jpg": "empty file",
    }
    read_well = set(images) - set(reasons) - {"truncated.jpg"}
    assert read_well == {
        *("cmyk.jpg", "moving.gif", "palette.png", "thin.png", "wide.png")
    }
    assert all(images[name]["detections"] is not None for name in read_well)
    log = last_log(tmp_path)
    assert {item["item"] for item in log["failures"]} == {*reasons, "truncated.jpg"}
    assert {item["item"]: item["reason"] for item in log["notes"]} == {
        "cmyk.jpg": "CMYK converted to RGB",
        "moving.gif": "animated or multi-page; the first frame is used",
        "palette.png": "P converted to RGB",
        "wide.png": "16-bit pixels reduced to 8",
    }
    assert log["counts"]["failed"] == 8
    assert "13 images, " in (shown := last_line(capsys))
    assert "8 images failed" in shown


def test_too_many_failures_exit_4_after_the_output_is_written(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "b.JPG"):
        (folder / name).write_bytes(b"")
    output = tmp_path / "o.json"
    assert run(network, folder, output, "--max-failures", "2") == 0
    assert run(network, folder, output, "--max-failures", "1") == 4
    assert last_line(capsys) == "error: 2 of 3 items failed; --max-failures allows 1"
    assert len(read(output)["images"]) == 3
    (folder / "c.png").write_bytes(b"")
    assert run(network, folder, output) == 4
    assert last_line(capsys) == "error: all 3 items failed; see the step log"


def test_a_list_of_images(network: Path, folder: Path, tmp_path: Path) -> None:
    lines = [
        str(folder / "c.png"),
        str(folder / "b.JPG"),
        str(folder / "c.png"),
        "none",
    ]
    text, document = tmp_path / "list.txt", tmp_path / "list.json"
    text.write_text("\n".join(lines))
    document.write_text(json.dumps(lines))
    outputs = []
    for path in (text, document):
        output = tmp_path / f"{path.suffix}.json"
        assert run(network, path, output) == 0
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]
    images = read(output)["images"]
    assert [image["file"] for image in images] == sorted(set(lines))
    assert images[-1]["failure"] == "no such file"


def test_categories_can_be_named(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping, output = tmp_path / "names.json", tmp_path / "o.json"
    mapping.write_text('{"0": "beast", "1": "biped", "2": "box"}')
    flags = ("--class_mapping_filename", str(mapping))
    assert run(network, folder, output, *flags) == 0
    document = read(output)
    assert document["detection_categories"] == {"0": "beast", "1": "biped", "2": "box"}
    assert document["images"][-1]["detections"][0]["category"] == "0"
    mapping.write_text('{"0": "beast"}')
    assert run(network, folder, output, *flags) == 1
    assert last_line(capsys) == (
        "error: --class_mapping_filename names 1 classes, the model has 3"
    )


@pytest.mark.parametrize(
    ("given", "written"),
    [("2022-11-22 20:47:15", r"2022-11-22 20:47:15"), ("now", r"\d{4}(-\d\d){2} .{8}")],
)
def test_the_time_of_completion_is_written_on_request(
    network: Path, folder: Path, tmp_path: Path, given: str, written: str
) -> None:
    output = tmp_path / "o.json"
    assert run(network, folder, output, "--completion-time", given) == 0
    shown = read(output)["info"]["detection_completion_time"]
    assert re.fullmatch(written, shown)


def test_an_output_that_exists(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    output.write_text("mine")
    assert run(network, folder, output, "--overwrite_handling", "skip") == 0
    assert last_line(capsys) == (
        f"{output} exists; nothing done (--overwrite_handling skip); nothing tells which "
        "images and detector it is of"
    )
    assert run(network, folder, output, "--overwrite_handling", "error") == 1
    assert last_line(capsys) == f"error: {output} exists; --overwrite_handling error"
    assert output.read_text() == "mine"
    assert run(network, folder, output, "--overwrite") == 0
    assert len(read(output)["images"]) == 3


def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken.json"
    empty.mkdir()
    broken.write_text("[3]")
    none, output = tmp_path / "none", tmp_path / "new" / "o.json"
    cases: list[tuple[list[str], str]] = [
        (
            [str(network), str(empty), str(output)],
            f"no images in {empty}; --recursive looks into its folders, too",
        ),
        (
            [str(network), str(empty), str(output), "--recursive"],
            f"no images in {empty}",
        ),
        (
            [str(network), str(none), str(output)],
            f"no such image, list or folder: {none}",
        ),
        (
            [str(network), str(broken), str(output)],
            f"{broken}: [0]: expected the name of a file",
        ),
        (
            [str(network), str(broken), str(output), "--output_relative_filenames"],
            f"{broken} is not a folder; --output_relative_filenames needs one",
        ),
        (
            [str(none.with_suffix(".onnx")), str(folder), str(output)],
            f"no such model file: {none}.onnx (--list-models prints the names there are)",
        ),
    ]
    for words, message in cases:
        assert main(words) == 1
        assert capsys.readouterr().err == f"error: {message}\n"
        assert not output.parent.exists()


def test_a_file_that_is_no_model_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "x.onnx"
    model.write_text("hello")
    assert run(model, folder, tmp_path / "o.json") == 1
    assert last_line(capsys).startswith(f"error: {model}: ")
    assert not list(tmp_path.glob("o.json*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "MODEL, IMAGES and OUTPUT are required (or --list-models)"),
        (["m", "i"], "MODEL, IMAGES and OUTPUT are required (or --list-models)"),
        (["m", "i", "o", "--threshold", "2"], "2 is not between 0 and 1"),
        (["m", "i", "o", "--include_exif_tags", "Make,Hat"], 'is not "all" or a list'),
        (
            ["m", "i", "o", "--completion-time", "noon"],
            "'noon' is not \"now\" or a time",
        ),
        (["m", "i", "o", "--device", "tpu"], "'tpu' is not auto, cpu or cuda:N"),
        (["m", "i", "o", "--image_size", "9999"], "9999 px are more than 8192"),
        (["m", "i", "o", "--resume_from_checkpoint", "no"], "no such file: no"),
    ],
)
def test_usage_errors_exit_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert message in last_line(capsys)


def test_list_models_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-models"]) == 0
    shown = capsys.readouterr().out
    assert "md_v5a.0.0.pt" in shown
    assert "megadetector_lite-20220528" in shown


@pytest.mark.parametrize(
    "line",
    [
        "md_v4.1.0.pb /path/to/images detections.json --recursive --output_relative_filenames",
        "MDV5A i o --batch_size 8 --threshold 0.1 --include_image_size --include_max_conf",
        "MDV5A i o --checkpoint_frequency 500 --resume_from_checkpoint auto --ncores 2",
        "MDV5A i o --checkpoint_path c --allow_checkpoint_overwrite --use_image_queue",
        "MDV5A i o --include_exif_tags all --include_image_timestamp --loader_workers 4",
        "MDV5A i o --image-size 1280 --overwrite-handling skip --quiet --verbose",
        "MDV5A i o --preprocess_on_image_queue --use_threads_for_queue --restart",
    ],
)
def test_lines_of_older_notes_are_parsed(line: str) -> None:
    run_detector_batch.build_parser().parse_args(line.split())


def cut(network: Path, folder: Path, output: Path, keep: int, *flags: str) -> Path:
    """Leaves what a run leaves that is killed after ``keep`` images."""
    journal = output.with_name(f"{output.name}.journal")
    removed: list[bytes] = []
    unlink = Path.unlink

    def keep_a_copy(path: Path, *, missing_ok: bool = False) -> None:
        if path == journal:
            removed.append(path.read_bytes())
        unlink(path, missing_ok=missing_ok)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", keep_a_copy)
        assert run(network, folder, output, "--recursive", *flags) == 0
    lines = removed[0].splitlines(keepends=True)
    torn = b"".join(lines[keep + 1 : keep + 2])[:-5]
    journal.write_bytes(b"".join(lines[: keep + 1]) + torn)
    output.unlink()
    return journal


def test_a_journal_is_picked_up(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    journal = cut(network, folder, output, 3)
    assert run(network, folder, output, "--recursive") == 0
    assert "3 of 5 images are done already" in capsys.readouterr().err
    counts = last_log(tmp_path)["counts"]
    assert counts["images_of_earlier_runs"] == 3
    assert counts["images_of_this_run"] == 2
    assert not journal.exists()


def record_of(output: Path) -> list[tuple[str, Contents]]:
    record = image_contents.find(output)
    assert record is not None
    return list(record.images())


def fresh(network: Path, folder: Path, output: Path, *flags: str) -> Path:
    """Runs into a folder of its own; returns the output."""
    path = output.parent / "fresh" / output.name
    assert run(network, folder, path, "--recursive", *flags) == 0
    return path


def assert_as_fresh(network: Path, folder: Path, output: Path, *flags: str) -> None:
    expected = fresh(network, folder, output, *flags)
    assert output.read_bytes() == expected.read_bytes()
    assert record_of(output) == record_of(expected)


def test_an_image_that_changed_is_detected_anew_alone(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    cut(network, folder, output, 4)
    Image.new("RGB", (40, 30), (240, 10, 10)).save(folder / "b.JPG")
    assert run(network, folder, output, "--recursive") == 0
    said = capsys.readouterr().err
    assert "1 images changed since they were detected" in said
    assert "3 of 5 images are done already" in said
    counts = last_log(tmp_path)["counts"]
    assert (counts["images_changed"], counts["images_of_this_run"]) == (1, 2)
    assert_as_fresh(network, folder, output)


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", None), (None, b""), (b"no image", None), (None, b"no image")],
)
def test_an_image_that_breaks_or_is_mended_is_detected_anew(
    network: Path, folder: Path, tmp_path: Path, before: bytes, after: bytes
) -> None:
    output, image = tmp_path / "o.json", folder / "a.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole if before is None else before)
    cut(network, folder, output, 3)
    image.write_bytes(whole if after is None else after)
    assert run(network, folder, output, "--recursive") == 0
    assert last_log(tmp_path)["counts"]["images_of_earlier_runs"] == 2
    assert_as_fresh(network, folder, output)


def test_images_of_a_batch_with_one_that_changed_are_as_in_a_fresh_run(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    output, flags = tmp_path / "o.json", ("--batch_size", "2")
    cut(network, folder, output, 5, *flags)
    Image.new("RGB", (40, 30), (240, 10, 10)).save(folder / "sub/e.jpg")
    Image.new("RGB", (40, 30), (240, 10, 10)).save(folder / "b.JPG")
    assert run(network, folder, output, "--recursive", *flags) == 0
    counts = last_log(tmp_path)["counts"]
    assert (counts["images_changed"], counts["images_of_this_run"]) == (2, 3)
    assert_as_fresh(network, folder, output, *flags)


def test_an_image_written_anew_is_the_same_one_of_a_new_time(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.json"
    cut(network, folder, output, 3)
    os.utime(folder / "a.jpg", ns=(5, 5))
    assert run(network, folder, output, "--recursive") == 0
    assert last_log(tmp_path)["counts"]["images_of_earlier_runs"] == 3
    name, contents = record_of(output)[0]
    assert name == str(folder / "a.jpg")
    assert contents.stamp == Stamp((folder / "a.jpg").stat().st_size, 5)
    assert_as_fresh(network, folder, output)


def swap_quietly(folder: Path) -> None:
    """Gives an image other bytes of equal size and time."""
    one, size = folder / "a.jpg", (folder / "a.jpg").stat().st_size
    time_ns = one.stat().st_mtime_ns
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60), (240, 10, 10)).save(buffer, "JPEG", quality=30)
    one.write_bytes(buffer.getvalue().ljust(size, b"\0"))
    os.utime(one, ns=(time_ns, time_ns))
    assert one.stat().st_size == size


def test_equal_size_and_time_with_other_bytes_is_seen_when_verifying(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.json"
    journal = cut(network, folder, output, 3)
    kept = journal.read_bytes()
    swap_quietly(folder)
    assert run(network, folder, output, "--recursive") == 0
    assert last_log(tmp_path)["counts"]["images_changed"] == 0
    journal.write_bytes(kept)
    assert run(network, folder, output, "--recursive", "--verify") == 0
    assert last_log(tmp_path)["counts"]["images_changed"] == 1
    assert_as_fresh(network, folder, output)


def test_the_record_tells_images_and_detector(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.json"
    (folder / "b.JPG").write_bytes(b"broken")
    (folder / "c.png").write_bytes(b"")
    assert run(network, folder, output, "--recursive") == 0
    record = image_contents.find(output)
    assert record is not None
    assert record.header.detector == digest_of(network)
    store = AnywhereStore()
    assert list(record.images()) == [
        (str(path), Contents(digest(store.read(str(path))), store.stamp(str(path))))
        for path in (
            folder / name for name in ("a.jpg", "b.JPG", "sub/d.jpg", "sub/e.jpg")
        )
    ]


def test_skipping_keeps_no_stale_output(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, skip = tmp_path / "o.json", ("--overwrite_handling", "skip")
    (folder / "b.JPG").write_bytes(b"")
    assert run(network, folder, output) == 0
    written = output.read_bytes()
    assert run(network, folder, output, *skip) == 0
    assert last_line(capsys).endswith("nothing done (--overwrite_handling skip)")
    Image.new("RGB", (40, 30), (240, 10, 10)).save(folder / "a.jpg")
    Image.new("RGB", (40, 30), (240, 10, 10)).save(folder / "b.JPG")
    assert run(network, folder, output, *skip) == 1
    assert last_line(capsys) == (
        f"error: {output} exists and is made before 2 images changed; "
        "--overwrite_handling overwrite makes it anew"
    )
    assert run(network, folder, output, *skip, "--threshold", "0.5") == 1
    assert f"{output} exists and is of other options; " in last_line(capsys)
    (folder / "new.jpg").write_bytes(b"")
    assert run(network, folder, output, *skip) == 1
    assert f"{output} exists and is of other images; " in last_line(capsys)
    assert output.read_bytes() == written
    assert run(network, folder, output) == 0
    assert run(network, folder, output, *skip) == 0


@pytest.mark.parametrize(
    "flags",
    [
        ("--threshold", "0.3"),
        ("--batch_size", "2"),
        ("--include_image_size",),
        ("--include_exif_tags", "all"),
        ("--max-pixels", "999999"),
        ("--output_relative_filenames",),
    ],
)
def test_a_journal_of_other_options_is_refused(
    network: Path,
    folder: Path,
    tmp_path: Path,
    flags: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "o.json"
    differs = "images" if "relative" in flags[0] else "options"
    journal = cut(network, folder, output, 3)
    kept = journal.read_bytes()
    assert run(network, folder, output, "--recursive", *flags) == 1
    assert last_line(capsys) == (
        f"error: {journal} belongs to a run with other {differs}; "
        "--restart throws it away and begins again"
    )
    assert journal.read_bytes() == kept
    assert run(network, folder, output, "--recursive", *flags, "--restart") == 0
    assert not journal.exists()


def test_a_journal_of_other_images_or_another_model_is_refused(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    cut(network, folder, output, 3)
    other = red_detector(tmp_path / network.name, layers=1)
    assert run(other, folder, output, "--recursive") == 1
    assert "a run with other detector; --restart" in last_line(capsys)
    (folder / "new.jpg").write_bytes(b"")
    assert run(network, folder, output, "--recursive") == 1
    assert "a run with other images; --restart" in last_line(capsys)


def test_what_does_not_shape_the_result_may_change(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.json"
    cut(network, folder, output, 2)
    flags = ("--loader_workers", "3", "--ncores", "1", "--checkpoint_frequency", "1")
    assert run(network, folder, output, "--recursive", *flags) == 0


def test_the_journal_can_be_elsewhere(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    elsewhere = cut(network, folder, output, 2).rename(tmp_path / "kept.journal")
    flags = ("--recursive", "--resume_from_checkpoint", str(elsewhere))
    assert run(network, folder, output, *flags) == 0
    assert "2 of 5 images are done already" in capsys.readouterr().err
    assert not elsewhere.exists()


def test_a_checkpoint_of_another_program_is_left_alone(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "md_checkpoint_20221122.json"
    checkpoint.write_text('{"checkpoint": []}')
    flags = ("--resume_from_checkpoint", str(checkpoint), "--restart")
    with pytest.raises(SystemExit) as ended:
        run(network, folder, tmp_path / "o.json", *flags)
    assert ended.value.code == 1
    assert last_line(capsys) == (
        f"error: --resume_from_checkpoint {checkpoint} is not a journal; "
        "move it out of the way"
    )
    assert checkpoint.read_text() == '{"checkpoint": []}'


def start(network: Path, folder: Path, output: Path, *flags: str) -> list[str]:
    script = str(ROOT / "detection/run_detector_batch.py")
    words = [script, str(network), str(folder), str(output), *flags]
    return [sys.executable, *words, "--output_relative_filenames"]


def count_records(journal: Path) -> int:
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 0


def test_d37_killed_at_60_percent_it_goes_on_to_the_same_file(tmp_path: Path) -> None:
    total, batch = 40, 4
    network = red_detector(tmp_path / "slow.onnx", layers=3)
    folder = tmp_path / "photos"
    for number in range(total):
        scene = world.photograph(80, 60, seed=number)
        world.save_jpeg(folder / f"{number:03d}.jpg", scene)
    flags = ("--batch_size", str(batch), "--ncores", "1")
    undisturbed = tmp_path / "whole" / "o.json"
    subprocess.run(start(network, folder, undisturbed, *flags), check=True)

    output = tmp_path / "killed" / "o.json"
    journal = output.with_name("o.json.journal")
    process = subprocess.Popen(start(network, folder, output, *flags))
    while process.poll() is None and count_records(journal) < 0.6 * total:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was done before it could be killed"
    of_first_run = count_records(journal)
    assert 0.6 * total <= of_first_run < total
    assert not output.exists()

    subprocess.run(start(network, folder, output, *flags), check=True)
    assert output.read_bytes() == undisturbed.read_bytes()
    counts = last_log(output.parent)["counts"]
    assert counts["images_of_earlier_runs"] == of_first_run
    # The first run may have had one batch more in the network when it was killed.
    whole_batches = of_first_run - of_first_run % batch
    assert (whole_batches + batch) + counts["images_of_this_run"] <= total + batch
    assert not journal.exists()
    assert not list(output.parent.glob(".ct-*"))


def test_interrupted_it_keeps_what_is_done(tmp_path: Path) -> None:
    network = red_detector(tmp_path / "slow.onnx", layers=3)
    folder = tmp_path / "photos"
    for number in range(40):
        world.save_jpeg(folder / f"{number:03d}.jpg", world.photograph(80, 60))
    output = tmp_path / "o.json"
    process = subprocess.Popen(
        start(network, folder, output, "--ncores", "1"),
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and count_records(Path(f"{output}.journal")) < 5:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 130
    assert shown.endswith("interrupted; finished items are kept, run again to go on\n")
    assert count_records(Path(f"{output}.journal")) >= 5


@pytest.mark.parametrize("pause_s", [0.0, 0.002, 0.02, 0.1])
def test_interrupted_twice_it_ends_with_one_line_and_goes_on(
    tmp_path: Path, pause_s: float
) -> None:
    network = red_detector(tmp_path / "slow.onnx", layers=3)
    folder = tmp_path / "photos"
    for number in range(40):
        world.save_jpeg(folder / f"{number:03d}.jpg", world.photograph(80, 60))
    output = tmp_path / "out" / "o.json"
    line = start(network, folder, output, "--ncores", "1", "--batch_size", "8")
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and count_records(Path(f"{output}.journal")) < 5:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    time.sleep(pause_s)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 130
    assert shown.count("interrupted; ") == 1
    assert "Traceback" not in shown
    assert not output.exists()
    subprocess.run(line, check=True)
    counts = last_log(output.parent)["counts"]
    assert counts["images_of_earlier_runs"] >= 5
    assert len(read(output)["images"]) == 40
    assert not list(output.parent.glob(".ct-*"))


def test_two_runs_on_one_output_do_not_mix(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    with Journal.open(Path(f"{output}.journal"), key="x"):
        assert run(network, folder, output) == 1
    assert last_line(capsys) == (
        f"error: another run is writing {output}.journal; wait for it to end"
    )


def test_more_images_than_are_in_flight(network: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.png").write_bytes(buffer.getvalue())
    output = tmp_path / "o.json"
    assert run(network, folder, output, "--batch_size", "16") == 0
    assert len(read(output)["images"]) == 300


def run_shard(
    network: Path, folder: Path, output: Path, shard: str, *flags: str
) -> int:
    return run(network, folder, output, "--recursive", "--shard", shard, *flags)


@pytest.mark.parametrize("of", [1, 2, 3, 9])
def test_merged_shards_are_the_whole_run(
    network: Path, folder: Path, tmp_path: Path, of: int
) -> None:
    (folder / "b.JPG").write_bytes(b"broken")
    flags = ("--batch_size", "2", "--include_image_size")
    whole, output = tmp_path / "whole" / "o.json", tmp_path / "parts" / "o.json"
    assert run(network, folder, whole, "--recursive", *flags) == 0
    for number in range(of, 0, -1):
        assert run_shard(network, folder, output, f"{number}/{of}", *flags) == 0
    assert merge_shards.main([str(output)]) == 0
    assert output.read_bytes() == whole.read_bytes()
    record, joined = map(image_contents.find, (whole, output))
    assert record is not None
    assert joined is not None
    assert joined.header == record.header
    assert list(joined.images()) == list(record.images())
    assert not list(output.parent.glob("*.journal"))


def test_a_shard_has_names_of_its_own(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out" / "o.json"
    assert run_shard(network, folder, output, "2/3") == 0
    names = [path.name for path in sorted(output.parent.iterdir())]
    assert names[:3] == [
        "o.shard-002-of-003.json",
        "o.shard-002-of-003.json.images.jsonl.gz",
        "o.shard-002-of-003.json.shard.json",
    ]
    assert names[3].startswith("run_detector_batch.shard-002-of-003_log_")
    assert len(names) == 4
    document = read(output.parent / names[0])
    assert [image["file"] for image in document["images"]] == [
        str(folder / name) for name in ("b.JPG", "c.png")
    ]
    assert read(output.parent / names[3])["options"]["shard"] == "2/3"


def test_a_complete_shard_is_not_run_again(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    shard = tmp_path / "o.shard-001-of-003.json"
    (folder / "a.jpg").write_bytes(b"broken")
    assert run_shard(network, folder, output, "1/3") == 4  # all of it has failed
    written = shard.stat().st_mtime_ns
    assert run_shard(network, folder, output, "1/3") == 4
    assert f"{shard} is complete; nothing done" in capsys.readouterr().err
    assert (
        run_shard(network, folder, output, "1/3", "--overwrite_handling", "skip") == 4
    )
    assert shard.stat().st_mtime_ns == written
    assert run_shard(network, folder, output, "1/3", "--restart") == 4
    assert shard.stat().st_mtime_ns > written
    written = shard.stat().st_mtime_ns
    assert run_shard(network, folder, output, "1/3", "--include_image_size") == 4
    assert shard.stat().st_mtime_ns > written


def test_a_complete_shard_whose_images_changed_is_run_again(
    network: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.json"
    shard = tmp_path / "o.shard-001-of-002.json"
    assert run_shard(network, folder, output, "1/2") == 0
    before = shard.read_bytes()
    Image.new("RGB", (40, 30), (240, 10, 10)).save(folder / "sub/e.jpg")  # of 2/2
    assert run_shard(network, folder, output, "1/2") == 0
    assert shard.read_bytes() == before
    Image.new("RGB", (40, 30), (240, 10, 10)).save(folder / "a.jpg")
    assert run_shard(network, folder, output, "1/2") == 0
    assert shard.read_bytes() != before


def test_a_shard_that_was_killed_goes_on(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("classification.sharding.parts.Part.complete", interrupt)
        assert run_shard(network, folder, output, "2/2") == 130
    assert merge_shards.main([str(output)]) == 1
    assert last_line(capsys) == (
        f"error: of 2 shards of {output}, 1 missing, 2 not complete; run them again, "
        "each goes on where it was"
    )
    assert (
        run_shard(network, folder, output, "2/2", "--overwrite_handling", "skip") == 0
    )
    assert "3 of 3 images are done already" in capsys.readouterr().err


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_attempt_leaves_the_journal_of_the_first_alone(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    first = tmp_path / "o.shard-001-of-002.json.journal"
    with Journal.open(first, key="x"):
        assert run_shard(network, folder, output, "1/2") == 1
        assert f"another run is writing {first}" in last_line(capsys)
        assert run_shard(network, folder, output, "1/2:2") == 0
    assert first.exists()


def test_shards_of_other_options_are_not_joined(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.json"
    assert run_shard(network, folder, output, "1/2") == 0
    assert run_shard(network, folder, output, "2/2", "--threshold", "0.3") == 0
    assert merge_shards.main([str(output)]) == 1
    assert last_line(capsys) == (
        f"error: {tmp_path / 'o.shard-002-of-002.json'} is of other options "
        f"than {tmp_path / 'o.shard-001-of-002.json'}"
    )
    assert not output.exists()


def test_shards_have_no_time_of_their_own(
    network: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_shard(
            *(network, folder, tmp_path / "o.json", "1/2"), "--completion-time", "now"
        )
    assert "shards end at different times; give one" in last_line(capsys)
