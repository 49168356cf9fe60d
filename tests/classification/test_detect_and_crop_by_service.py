"""``detect_and_crop --batch-api`` with the real service, killed on either side."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from classification import detect_and_crop
from classification.artifacts import batch_tasks, crop_index, image_contents
from classification.runtime import cli
from detection import remote_filling
from detection.batch_client import TOKEN_VARIABLE
from detection.remote_filling import Polling
from tests.commands import ROOT
from tests.detection.detectors.graphs import red_detector
from tests.serving import Service, serving, start
from tests.web import serving_folder
from tests.world import photograph, save_jpeg

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = 24
TOKEN = "a-token-of-the-tests-0123456789"  # noqa: S105 - of no service


def without_record(data: bytes) -> bytes:
    """Returns a crop without its comment segment; another file as it is."""
    begin, comment, rest = data.partition(b"\xff\xfe")
    if not (begin.startswith(b"\xff\xd8") and comment):
        return data
    return begin + rest[int.from_bytes(rest[:2]) :]


class World:
    """Three datasets of images, and a detector that takes its time."""

    def __init__(self, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.base = base
        self.capsys = capsys
        self.model = red_detector(base / "slow_v3.onnx", layers=1)
        images = {}
        for number in range(IMAGES):
            dataset = "abc"[number % 3]
            name = f"{dataset}/x/{number:02}.jpg"
            images[name] = {"dataset": dataset, "class": "elk", "label": ["deer"]}
            save_jpeg(base / "images" / name, photograph(160, 120, seed=number))
        text = json.dumps(dict(sorted(images.items())))
        (base / "queried_images.json").write_text(text, encoding="utf-8")

    def run(self, line: str) -> int:
        self.capsys.readouterr()
        return detect_and_crop.main(line.split())

    @property
    def said(self) -> list[str]:
        return self.capsys.readouterr().err.splitlines()

    @property
    def log(self) -> dict[str, Any]:
        logs = self.base.glob("out/*_log_*.json")
        newest = max(logs, key=lambda path: path.stat().st_mtime_ns)
        document: dict[str, Any] = json.loads(newest.read_bytes())
        return document

    def snapshot(self) -> dict[str, bytes]:
        """Returns all files but those that hold the clock: logs and the crops' index.

        What is known of the detector is left out, too: a service does not tell it.
        """
        return {
            path.relative_to(self.base).as_posix(): without_record(path.read_bytes())
            for folder in ("mdcache", "crops", "out")
            for path in sorted((self.base / folder).rglob("*"))
            if path.is_file()
            and "_log_" not in path.name
            and path.name != crop_index.FILENAME
            and not path.name.endswith(image_contents.SUFFIX)
        }

    def forget(self) -> None:
        for name in self.snapshot():
            (self.base / name).unlink()

    def serve(self, *flags: str, port: int = 0, **environment: str) -> Service:
        folder, root = self.base / "served", self.base / "images"
        limits = ("--allow-root", root, "--device", "cpu")
        last = ("--port", str(port)) if port else ()
        return start(self.model, folder, *limits, *flags, *last, **environment)

    @property
    def tasks(self) -> list[Path]:
        return [path for path in (self.base / "served").iterdir() if path.is_dir()]


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> World:
    monkeypatch.chdir(tmp_path)
    for variable in (
        cli.MEGADB_VARIABLE,
        detect_and_crop.API_VARIABLE,
        detect_and_crop.CALLER_VARIABLE,
        TOKEN_VARIABLE,
    ):
        monkeypatch.delenv(variable, raising=False)
    quick = Polling(first_s=0.01, most_s=0.1, limit_s=20)
    monkeypatch.setattr(remote_filling, "DEFAULT_POLLING", quick)
    return World(tmp_path, capsys)


LINE = (
    "queried_images.json out -c mdcache --detector slow_v3.onnx --images-dir images "
    "--cropped-images-dir crops --run-detector --square-crops -t 0.1 --device cpu"
)


def test_it_ends_with_what_a_detector_here_ends_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.run(LINE) == 0
    here = world.snapshot()
    assert len(here) > IMAGES
    world.forget()
    monkeypatch.setenv(detect_and_crop.CALLER_VARIABLE, "jane")
    service = world.serve()
    try:
        assert world.run(f"{LINE} --batch-api {service.url}") == 0
        assert world.snapshot() == here
        counts = world.log["counts"]
        assert counts["images_detected"] == IMAGES
        assert counts["images_detection_failed"] == counts["images_failed"] == 0
        assert counts["images_of_earlier_runs"] == 0
        assert len(world.log["images_submitted_for_detection"]) == IMAGES
        assert len(world.tasks) == 3
        # The next run has nothing to ask.
        assert world.run(f"{LINE} --batch-api http://127.0.0.1:1") == 0
        assert world.snapshot() == here
    finally:
        said = service.end()
    assert said.count(" of 'jane' was submitted: detect_for_classifier_") == 3


def test_an_image_that_changed_is_asked_for_again(world: World) -> None:
    assert world.run(LINE) == 0
    name = "a/x/00.jpg"
    save_jpeg(world.base / "images" / name, photograph(90, 150, seed=77))
    service = world.serve()
    try:
        assert world.run(f"{LINE} --batch-api {service.url}") == 0
    finally:
        service.end()
    assert world.log["images_submitted_for_detection"] == [name]
    found = world.snapshot()
    world.forget()
    assert world.run(LINE) == 0
    assert world.snapshot() == found


def test_the_environment_names_the_service_and_the_token(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = world.serve(**{TOKEN_VARIABLE: TOKEN})
    try:
        monkeypatch.setenv(detect_and_crop.API_VARIABLE, service.url)
        assert world.run(LINE) == 1
        assert world.said[-1] == (
            f"error: {service.url}: HTTP 401: a token expected, in the header "
            f"Authorization ({TOKEN_VARIABLE} in the environment)"
        )
        monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
        assert world.run(LINE) == 0
        assert world.log["options"]["batch_api"] == service.url
        assert TOKEN not in json.dumps(world.log) + "".join(world.said)
    finally:
        service.kill()


def test_without_run_detector_nobody_is_asked(world: World) -> None:
    line = LINE.replace(" --run-detector", "")
    assert world.run(f"{line} --batch-api http://127.0.0.1:1") == 0
    assert len(world.log["images_missing_detections"]) == IMAGES
    assert "batch_api" not in world.log["options"]


def test_an_empty_address_detects_here(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(detect_and_crop.API_VARIABLE, "http://127.0.0.1:1")
    assert detect_and_crop.main([*LINE.split(), "--batch-api", ""]) == 0
    assert world.log["options"]["detector"] == "slow_v3.onnx"


def test_an_address_that_is_none_is_a_usage_error(world: World) -> None:
    with pytest.raises(SystemExit) as ended:
        world.run(f"{LINE} --batch-api file:///x")
    assert ended.value.code == 2
    assert world.said[-1].endswith("--batch-api: not an address of http or https")


def test_a_service_takes_all_or_nothing(world: World) -> None:
    with pytest.raises(SystemExit) as ended:
        world.run(f"{LINE} --batch-api http://127.0.0.1:1 --shard 1/2")
    assert ended.value.code == 2
    assert world.said[-1].endswith("a service takes all (--batch-api)")


def test_a_service_with_another_detector_is_one_line(world: World) -> None:
    service = world.serve()
    try:
        line = LINE.replace("--detector slow_v3.onnx", "--detector-version 4.1")
        assert world.run(f"{line} --batch-api {service.url}") == 1
        assert world.said[-1] == (
            f"error: {service.url}: HTTP 400: this service runs slow_v3.onnx, version 3, "
            "not '4.1'"
        )
    finally:
        service.kill()


def test_the_service_may_find_the_images_elsewhere(world: World) -> None:
    (world.base / "images").rename(world.base / "shared")
    with serving(
        world.model, world.base / "served", "--allow-root", world.base / "shared"
    ) as service:
        line = LINE.replace("--images-dir images --cropped-images-dir crops", "")
        where = f"--batch-api-images {world.base}/shared"
        assert world.run(f"{line} --batch-api {service.url} {where}") == 0
        assert world.log["counts"]["images_detected"] == IMAGES
        assert world.log["options"]["batch_api_images"] == f"{world.base}/shared"


def test_the_service_reads_from_the_web_what_is_in_no_folder(world: World) -> None:
    """One dataset in a folder of its own, the others behind an address with a token."""
    (world.base / "images/a").rename(world.base / "mine")
    with (
        serving_folder(world.base / "images") as web,
        serving(
            world.model,
            world.base / "served",
            *("--allow-root", world.base / "mine", "--allow-url", web.url),
        ) as service,
    ):
        line = LINE.replace("--images-dir images", "--images-dir a=mine")
        places = f"--base-url b={web.url}/b?sig=SECRET --base-url c={web.url}/c"
        assert world.run(f"{line} {places} --batch-api {service.url}") == 0
        assert world.log["counts"]["images_detected"] == IMAGES
        assert world.log["counts"]["images_failed"] == 0
        asked = set(web.asked)
        said = service.end()
    assert "/b/x/01.jpg?sig=SECRET" in asked
    assert len(world.tasks) == 3
    for path in (world.base / "served").rglob("*"):
        said += path.read_bytes().decode(errors="replace") if path.is_file() else ""
    assert "SECRET" not in said + json.dumps(world.log)


def test_where_the_service_may_not_look_is_one_line(world: World) -> None:
    with serving(
        world.model, world.base / "served", "--allow-root", world.base / "images/b"
    ) as service:
        assert world.run(f"{LINE} --batch-api {service.url}") == 1
        assert f"'{world.base}/images/a' is in no --allow-root" in world.said[-1]


def started(world: World, line: str) -> subprocess.Popen[str]:
    """Starts the command, with polls as quick as those of the test's own process."""
    program = (
        "import sys; from detection import remote_filling as r; "
        "r.DEFAULT_POLLING = r.Polling(first_s=0.01, most_s=0.1, limit_s=20); "
        "from classification.detect_and_crop import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, *line.split()],
        cwd=world.base,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("after", ["submission", "download", "crops"])
def test_d37_killed_and_run_again_it_submits_nothing_twice(
    world: World, after: str
) -> None:
    assert world.run(LINE) == 0
    undisturbed = world.snapshot()
    world.forget()
    signs = {
        "submission": "out/detect_and_crop_tasks.json",
        "download": "out/batchapi_response/*.json",
        "crops": "crops/a/**/*.jpg",
    }
    service = world.serve()
    try:
        line = f"{LINE} --batch-api {service.url}"
        child = started(world, line)
        while child.poll() is None and not list(world.base.glob(signs[after])):
            time.sleep(0.001)
        child.kill()
        child.communicate()
        assert child.returncode == -signal.SIGKILL, "it was done before it was killed"
        saved = batch_tasks.read(world.base / "out/detect_and_crop_tasks.json")
        assert world.run(line) == 0
        assert world.snapshot() == undisturbed
        # One may have been on its way when the client was killed, and is then known.
        assert len(world.tasks) in {3, 4} if after == "submission" else {3}
        assert {task.task_id for task in saved} <= {path.name for path in world.tasks}
        assert world.log["counts"]["images_of_earlier_runs"] >= len(saved) * IMAGES // 3
    finally:
        service.kill()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_d38_client_and_service_killed_again_and_again(world: World, seed: int) -> None:
    assert world.run(LINE) == 0
    undisturbed = world.snapshot()
    world.forget()
    draw = random.Random(seed)
    service = world.serve()
    port = int(service.url.rpartition(":")[2])
    line = f"{LINE} --batch-api {service.url}"
    try:
        for _ in range(6):
            child = started(world, line)
            time.sleep(draw.uniform(0, 2))
            if draw.random() < 0.5:
                service.kill()
                service = world.serve(port=port)
            child.kill()
            child.communicate()
        assert world.run(line) == 0
        assert world.snapshot() == undisturbed
    finally:
        service.kill()
