from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from classification import cache_batchapi_outputs as command
from classification.artifacts import detection_cache, image_contents
from classification.runtime import locking
from classification.runtime.contents import Contents, Stamp
from classification.storage import download
from tests.commands import ROOT
from tests.web import Reply, serving

if TYPE_CHECKING:
    from pathlib import Path

BOX = {"category": "1", "conf": 0.914, "bbox": [0.1, 0.2, 0.3, 0.4]}
A = {"file": "a.jpg", "detections": [BOX]}
B = {"file": "b.jpg", "detections": []}
B_FAILED = {"file": "b.jpg", "detections": None, "failure": "truncated"}
TOKEN = "?sv=2020&sig=SECRET"  # noqa: S105 - what must not be shown


def document(*images: object, detector: str | None = "md_v4.1.0.pb") -> dict[str, Any]:
    info = {"format_version": "1.6"}
    return {
        "info": info if detector is None else {**info, "detector": detector},
        "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
        "images": list(images),
    }


class World:
    """A folder with a detections JSON, in which the command is run."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.json_file = folder / "d.json"
        self.cache = folder / "mdcache"
        self.capsys = capsys

    def save(self, content: object) -> None:
        self.json_file.write_text(json.dumps(content), encoding="utf-8")

    def run(self, *more: str, dataset: str = "caltech") -> tuple[int, list[str]]:
        """Returns the exit code, and the lines on stderr without folders."""
        argv = [str(self.json_file), "-d", dataset, "-c", str(self.cache)]
        self.capsys.readouterr()
        code = command.main([*argv, "--logdir", str(self.folder / "logs"), *more])
        said = self.capsys.readouterr()
        assert said.out == ""
        assert "SECRET" not in said.err
        return code, said.err.replace(f"{self.folder}/", "").splitlines()

    def refusal(self, *more: str) -> str:
        before = self.cache_files()
        code, lines = self.run(*more)
        assert code == 1
        assert self.cache_files() == before
        assert lines[-1].startswith("error: ")
        return lines[-1].removeprefix("error: ")

    def cache_files(self) -> dict[str, bytes]:
        return {
            path.relative_to(self.cache).as_posix(): path.read_bytes()
            for path in sorted(self.cache.rglob("*"))
            if path.is_file()
        }

    def log(self) -> dict[str, Any]:
        """Returns what the last step log says."""
        paths = sorted(
            (self.folder / "logs").iterdir(), key=lambda path: path.stat().st_mtime_ns
        )
        text = paths[-1].read_text(encoding="utf-8")
        assert "SECRET" not in text
        found: dict[str, Any] = json.loads(text)
        return found


@pytest.fixture
def world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> World:
    made = World(tmp_path, capsys)
    made.save(document(A, B_FAILED))
    return made


def without_log(line: str) -> str:
    return line.partition("; log: ")[0]


def test_detections_go_into_the_cache_of_their_version(world: World) -> None:
    code, lines = world.run()
    assert code == 0
    (line,) = lines
    assert without_log(line) == (
        "wrote mdcache/v4.1/caltech.json: 2 images, 2 of them added, 0 replaced, "
        "0 kept as they were; the detector had failed on 1; "
        "nothing tells which images they are of"
    )
    assert list(world.cache_files()) == ["v4.1/caltech.json"]
    file = detection_cache.open_file(world.cache, "4.1", "caltech")
    assert [image.file for image in file.images()] == ["a.jpg", "b.jpg"]
    log = world.log()
    assert log["failures"] == [{"item": "b.jpg", "reason": "truncated"}]
    assert log["notes"] == []
    assert log["counts"] == {
        "images": 2,
        "images_added": 2,
        "images_replaced": 0,
        "images_kept": 0,
        "images_failed": 1,
        "images_left_out": 0,
        "results_repeated": 0,
    }


def test_the_same_again_gives_the_same_bytes(world: World) -> None:
    world.run()
    before = world.cache_files()
    code, (line,) = world.run()
    assert code == 0
    assert "2 images, 0 of them added, 0 replaced, 2 kept as they were" in line
    assert world.cache_files() == before


def test_d14_a_second_run_on_the_failed_images_mends_them(world: World) -> None:
    world.run()
    world.save(document(B))
    code, (line,) = world.run()
    assert code == 0
    assert without_log(line) == (
        "wrote mdcache/v4.1/caltech.json: 2 images, 0 of them added, 1 replaced, "
        "0 kept as they were; the detector had failed on 0; "
        "nothing tells which images they are of"
    )


def test_overwrite_takes_the_new_boxes(world: World) -> None:
    world.run()
    other = {"file": "a.jpg", "detections": []}
    world.save(document(other))
    world.run()
    assert b"0.914" in world.cache_files()["v4.1/caltech.json"]
    world.run("--overwrite")
    assert b"0.914" not in world.cache_files()["v4.1/caltech.json"]
    assert world.log()["options"]["overwrite"] is True


@pytest.mark.parametrize(
    ("detector", "folder"),
    [
        ("md_v4.1.0.pb", "v4.1"),
        ("megadetector_v4.1", "v4.1"),
        ("md_v5a.0.0.pt", "v5a.0.0"),
        ("MDV5A", "v5a.0.0"),
        ("megadetector_lite-20220528", "vlite-20220528"),
        ("my_detector_v7.2.onnx", "v7.2"),
        ("MDV6-yolov9-c", "v6-yolov9-c"),
        ("megadetector_v5_camonly_mosaic_xlarge_dist_5a_last", "v5a.0.0"),
    ],
)
def test_d30_the_version_is_told_by_the_detector(
    detector: str, folder: str, world: World
) -> None:
    world.save(document(A, detector=detector))
    assert world.run()[0] == 0
    assert list(world.cache_files()) == [f"{folder}/caltech.json"]


@pytest.mark.parametrize(
    ("detector", "shown"), [(None, "unknown"), ("unknown", "unknown"), ("mine", "mine")]
)
def test_d30_a_file_that_tells_no_version_needs_the_flag(
    detector: str | None, shown: str, world: World
) -> None:
    world.save(document(A, detector=detector))
    assert world.refusal() == (
        f"d.json: info.detector, {shown!r}, tells no version; name it with "
        "--detector-version"
    )
    code, lines = world.run("-v", "4.1")
    assert (code, len(lines)) == (0, 1)
    assert list(world.cache_files()) == ["v4.1/caltech.json"]


def test_d30_the_flag_wins_and_says_so(world: World) -> None:
    code, lines = world.run("--detector-version", "5a.0.0")
    assert (code, len(lines)) == (0, 2)
    remark = "'md_v4.1.0.pb' tells 4.1; --detector-version 5a.0.0 is taken"
    assert lines[0] == f"info.detector {remark}"
    assert world.log()["notes"] == [{"item": "info.detector", "reason": remark}]
    assert list(world.cache_files()) == ["v5a.0.0/caltech.json"]


def test_d30_the_cache_of_the_original_stays_in_use(world: World) -> None:
    path = world.cache / "v5a.0.0.pt" / "caltech.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document(detector="md_v5a.0.0.pt")))
    world.save(document(A, detector="md_v5a.0.0.pt"))
    code, (line,) = world.run(dataset="Caltech")
    assert code == 0
    assert line.startswith("wrote mdcache/v5a.0.0.pt/caltech.json: 1 images")


def test_names_lose_and_gain_folders(world: World) -> None:
    images = [
        {"file": "unzipped\\x\\a.jpg", "detections": [BOX]},
        {"file": "unzipped/b.jpg", "detections": []},
    ]
    world.save(document(*images))
    code, _ = world.run("--remove-prefix", "unzipped/", "--add-prefix", "images/")
    assert code == 0
    file = detection_cache.open_file(world.cache, "4.1", "caltech")
    names = [image.file for image in file.images()]
    assert names == ["images/b.jpg", "images/x/a.jpg"]


@pytest.mark.parametrize(
    ("file", "flags", "message"),
    [
        (
            "/data/a.jpg",
            [],
            (
                "'/data/a.jpg' is absolute; names are relative to the images folder "
                "(run_detector_batch --output_relative_filenames)"
            ),
        ),
        (
            "C:\\data\\a.jpg",
            [],
            (
                "'C:/data/a.jpg' is absolute; names are relative to the images folder "
                "(run_detector_batch --output_relative_filenames)"
            ),
        ),
        ("../x/a.jpg", [], "'../x/a.jpg' leaves its folder"),
        ("a.jpg", ["--add-prefix", "../"], "'../a.jpg' leaves its folder"),
        ("x/a.jpg", ["--remove-prefix", "y/"], "'x/a.jpg' does not begin with 'y/'"),
        ("x/", ["--remove-prefix", "x/"], "'' names no file"),
    ],
)
def test_a_name_that_does_not_fit_is_one_line_with_the_way_out(
    file: str, flags: list[str], message: str, world: World
) -> None:
    world.save(document({"file": file, "detections": []}))
    assert world.refusal(*flags) == (
        f"d.json: images[0].file: {message}; "
        "--remove-prefix takes a folder off every name"
    )


def test_an_image_that_stands_twice_is_taken_once(world: World) -> None:
    world.save(document(B_FAILED, A, B, B))
    code, (line,) = world.run()
    assert code == 0
    assert without_log(line).endswith(
        "2 images, 2 of them added, 0 replaced, 0 kept as they were; the detector had "
        "failed on 0; "
        "nothing tells which images they are of"
    )
    assert world.log()["counts"]["results_repeated"] == 2


def test_d29_d30_what_is_changed_on_the_way_in_is_said(world: World) -> None:
    world.run()
    other = document({"file": "c.jpg", "detections": [BOX]}, detector="MDV4")
    other["detection_categories"] = {"1": "person"}
    other["info"]["format_version"] = 1.0
    other["summary"] = {}
    world.save(other)
    code, lines = world.run()
    assert code == 0
    assert lines[:-1] == [
        "detection_categories.1: 'person' has the id 2 in the cache",
        "summary: left out: a cache has no such key",
        "info.detector: 'MDV4' is put under 'md_v4.1.0.pb', as the cache says",
    ]
    assert len(world.log()["notes"]) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("{}", "info: an object expected"),
        (
            json.dumps(document({**A, "detections": [{**BOX, "conf": -1.5}]})),
            "images[0].detections[0].conf: a number in [-1, 1] expected",
        ),
    ],
    ids=["empty", "{}", "conf"],
)
def test_a_file_that_breaks_the_format(
    content: str, message: str, world: World
) -> None:
    world.json_file.write_text(content)
    assert world.refusal() == f"d.json: {message}"


def test_a_file_without_images_changes_nothing(world: World) -> None:
    world.run()
    before = world.cache_files()
    world.save(document())
    assert world.run()[0] == 0
    assert world.cache_files() == before


def test_a_missing_file(world: World) -> None:
    world.json_file.unlink()
    for flags in ([], ["-f", "detections"], ["-f", "response"]):
        assert world.refusal(*flags) == (
            "d.json: cannot read: No such file or directory"
        )


@pytest.mark.parametrize("dataset", ["../x", "a/b", "", "a\\b"])
def test_a_datasets_name_stays_in_the_cache(dataset: str, world: World) -> None:
    code, lines = world.run(dataset=dataset)
    assert code == 1
    assert lines[-1].startswith("error: ")
    assert not world.cache.exists()


def test_published_results_are_read_from_their_archive(world: World) -> None:
    archive = world.folder / "caltech_md.json.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(world.json_file, "d.json")
    world.json_file = archive
    assert world.run()[0] == 0
    assert list(world.cache_files()) == ["v4.1/caltech.json"]
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("d.json", b'{"images": [{}]}')
    assert world.refusal() == (
        "caltech_md.json.zip: images[0].file: the name of an image expected"
    )


def test_a_file_of_several_datasets_is_put_in_once_for_each(world: World) -> None:
    names = ["caltech/x/a.jpg", "ENA24\\b.jpg", "caltech/c.jpg"]
    world.save(document(*({"file": name, "detections": [BOX]} for name in names)))
    flags = ("--remove-prefix", "caltech/")
    assert world.refusal(*flags) == (
        "d.json: images[1].file: 'ENA24/b.jpg' does not begin with 'caltech/'; "
        "--remove-prefix takes a folder off every name"
    )
    code, (said, line) = world.run(*flags, "--skip-others")
    assert code == 0
    assert "1 names of images have backslashes" in said
    assert without_log(line).startswith(
        "wrote mdcache/v4.1/caltech.json: 2 images, 2 of them added, 0 replaced, 0 kept "
        "as they were; the detector had failed on 0; 1 of other datasets left out"
    )
    assert world.log()["counts"]["images_left_out"] == 1
    assert world.log()["options"]["skip_others"] is True
    flags = ("--remove-prefix", "ENA24/", "--skip-others")
    assert world.run(*flags, dataset="ENA24")[0] == 0
    for dataset, files in (("caltech", ["c.jpg", "x/a.jpg"]), ("ENA24", ["b.jpg"])):
        file = detection_cache.open_file(world.cache, "4.1", dataset)
        assert [image.file for image in file.images()] == files


def test_a_prefix_that_no_image_has(world: World) -> None:
    assert world.refusal("--remove-prefix", "Caltech/", "--skip-others") == (
        "d.json: none of its 2 images begins with 'Caltech/' (--remove-prefix)"
    )


def test_others_are_told_by_a_prefix(world: World) -> None:
    with pytest.raises(SystemExit) as ended:
        world.run("--skip-others")
    assert ended.value.code == 2
    assert world.capsys.readouterr().err.endswith(
        "error: --skip-others needs --remove-prefix, which tells them apart\n"
    )


def test_d14_a_failure_of_the_original_is_not_kept_for_good(world: World) -> None:
    path = world.cache / "v4.1/caltech.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document(A, B_FAILED)))
    world.save(document(B_FAILED))
    assert world.run("--max-failures", "1")[0] == 4  # all that was tried
    world.save(document({**A, "detections": None, "failure": "x"}, B))
    assert world.run()[0] == 0
    found = {
        image.file: image.detections
        for image in detection_cache.open_file(world.cache, "4.1", "caltech").images()
    }
    assert found["b.jpg"] == ()
    assert found["a.jpg"] is not None


@pytest.mark.parametrize(
    "failed",
    [
        {"file": "b.jpg"},
        {"file": "b.jpg", "failure": "Failure image access"},
        {"file": "b.jpg", "detections": None},
        {"file": "b.jpg", "detections": [], "failure": "inference failure"},
    ],
)
def test_d29_failures_in_all_their_forms_are_listed_and_replaced(
    failed: object, world: World
) -> None:
    world.save(document(A, failed))
    code, (line,) = world.run()
    assert code == 0
    assert "the detector had failed on 1" in line
    assert [failure["item"] for failure in world.log()["failures"]] == ["b.jpg"]
    world.save(document({**B, "detections": [BOX]}))
    world.run()
    assert world.cache_files()["v4.1/caltech.json"].count(b"0.914") == 2


def test_a_cache_that_cannot_be_written_is_one_line(world: World) -> None:
    world.cache.write_text("in the way")
    with pytest.raises(SystemExit) as ended:
        world.run()
    assert ended.value.code == 1
    assert world.cache.read_text() == "in the way"


def answer(url: str, status: str = "completed", failed_shards: int = 0) -> object:
    urls = {"detections": f"{url}/container/3c1f/d.json{TOKEN}"}
    message = {"num_failed_shards": failed_shards, "output_file_urls": urls}
    return {
        "TaskId": "3c1f",
        "Status": {"request_status": status, "message": message},
    }


@pytest.mark.parametrize("flags", [[], ["--format", "response"]])
def test_the_detections_of_a_task_are_downloaded(
    flags: list[str], world: World
) -> None:
    with serving(Reply(json.dumps(document(A)).encode())) as web:
        world.save(answer(web.url, failed_shards=2))
        code, lines = world.run(*flags)
        assert web.asked == [f"/container/3c1f/d.json{TOKEN}"]
    assert code == 0
    assert lines[:2] == [
        "task 3c1f: 2 parts of the images were not looked at",
        f"downloading {web.url}/container/3c1f/d.json",
    ]
    assert list(world.cache_files()) == ["v4.1/caltech.json"]
    assert world.log()["notes"] == [
        {"item": "task 3c1f", "reason": "2 parts of the images were not looked at"}
    ]


def test_d30_d35_a_response_of_several_files_needs_no_format(world: World) -> None:
    """The original needed ``--format``, and its response mode always failed."""
    with serving(Reply(json.dumps(document(A)).encode())) as web:
        response: Any = answer(web.url)
        urls = response["Status"]["message"]["output_file_urls"]
        folder = f"{web.url}/container/3c1f"
        urls |= {"failed_images": f"{folder}/failed.json{TOKEN}", "images": None}
        world.save(response)
        assert world.run()[0] == 0
        assert web.asked == [f"/container/3c1f/d.json{TOKEN}"]


def test_a_dataset_of_several_tasks_is_joined(world: World) -> None:
    """The original sent a million images at most with one task."""
    for images in ((A, B_FAILED), (B, {**A, "file": "c.jpg"})):
        with serving(Reply(json.dumps(document(*images)).encode())) as web:
            world.save(answer(web.url))
            assert world.run()[0] == 0
    file = detection_cache.open_file(world.cache, "4.1", "caltech")
    assert [image.file for image in file.images()] == ["a.jpg", "b.jpg", "c.jpg"]
    assert not any(image.detections is None for image in file.images())


def test_a_task_that_is_not_completed(world: World) -> None:
    world.save(answer("http://127.0.0.1:1", "running"))
    assert world.refusal() == (
        "d.json: Status.request_status: the task is 'running'; ask for the task again "
        "later, and save the new answer"
    )


def test_detections_that_are_gone(world: World) -> None:
    with serving(Reply(status=404)) as web:
        world.save(answer(web.url))
        assert world.refusal() == (
            f"cannot download {web.url}/container/3c1f/d.json: HTTP 404 Not Found"
        )


def test_downloaded_detections_that_break_the_format(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    whole = json.dumps(document(A)).encode()
    truncated = Reply(whole[:-9], length=len(whole))
    with serving(truncated, Reply(whole[:-9])) as web:
        world.save(answer(web.url))
        assert world.refusal() == "d.json: images[0]: not JSON: the file ends early"
        assert len(web.asked) == 2


def test_a_detections_file_is_no_answer(world: World) -> None:
    assert world.refusal("--format", "response") == "d.json: TaskId: a text expected"


def test_d39_a_second_run_does_not_mix_in(world: World) -> None:
    world.run()
    path = world.cache / "v4.1" / "caltech.json"
    with locking.exclusive(path):
        assert (
            world.refusal()
            == "another run is writing mdcache/v4.1/caltech.json; wait for it to end"
        )


def test_a_run_in_which_every_image_had_failed_exits_4(world: World) -> None:
    world.save(document(B_FAILED))
    code, lines = world.run()
    assert code == 4
    assert lines[-1] == "error: all 1 items failed; see the step log"
    world.save(document(A, B_FAILED))
    assert world.run("--max-failures", "1")[0] == 0
    code, lines = world.run("--max-failures", "0")
    assert code == 4
    assert lines[-1] == "error: 1 of 2 items failed; --max-failures allows 0"


def test_d36_a_run_that_is_killed_leaves_the_cache_as_it_was(world: World) -> None:
    world.run()
    before = world.cache_files()["v4.1/caltech.json"]
    names = (f"{number:05d}.jpg" for number in range(3000))
    world.save(document(*({**A, "file": name} for name in names)))
    program = (
        "import os, signal, sys\n"
        "from classification import cache_batchapi_outputs as command\n"
        "from classification.artifacts.detection_cache import Merged\n"
        "take = Merged.take\n"
        "def kill(merged, combined):\n"
        "    if merged.images == 2000: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return take(merged, combined)\n"
        "Merged.take = kill\n"
        "command.main(sys.argv[1:])\n"
    )
    argv = [str(world.json_file), "-d", "caltech", "-c", str(world.cache)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, *argv],
        cwd=world.folder,
        env=environment,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert world.cache_files()["v4.1/caltech.json"] == before
    assert world.run()[0] == 0
    assert detection_cache.open_file(world.cache, "4.1", "caltech").image_count == 3002


def test_the_cache_takes_what_is_known_of_the_images(world: World) -> None:
    one = {"file": "u/a.jpg", "detections": []}
    world.save(document(one, {"file": "v/b.jpg", "detections": []}))
    known = Contents("0a", Stamp(5, 6))
    images = [("u/a.jpg", known), ("v/b.jpg", Contents("0b", None))]
    image_contents.tell(world.json_file, images, detector="d1")
    prefix = ("--remove-prefix", "u/", "--skip-others")
    code, lines = world.run(*prefix)
    assert code == 0
    assert "nothing tells" not in lines[-1]
    record = image_contents.find(world.cache / "v4.1/caltech.json")
    assert record is not None
    assert record.header.detector == "d1"
    assert list(record.images()) == [("a.jpg", known)]
    # Boxes of another image of the name take their place; an equal one's do not.
    box = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]}
    world.save(document({"file": "u/a.jpg", "detections": [box]}))
    image_contents.tell(world.json_file, [("u/a.jpg", known)], detector="d1")
    before = world.cache_files()
    assert world.run(*prefix)[0] == 0
    assert world.cache_files() == before
    changed = Contents("0c", Stamp(5, 7))
    image_contents.tell(world.json_file, [("u/a.jpg", changed)], detector="d1")
    assert world.run(*prefix)[0] == 0
    file = detection_cache.open_file(world.cache, "4.1", "caltech")
    assert [len(image.detections or ()) for image in file.images()] == [1]
    record = image_contents.find(file.path)
    assert record is not None
    assert list(record.images()) == [("a.jpg", changed)]
    image_contents.tell(world.json_file, [("u/a.jpg", changed)], detector="d2")
    assert world.refusal(*prefix) == (
        "mdcache/v4.1/caltech.json holds boxes of another detector of this name (its "
        "file has changed); another --detector-version keeps the two apart, or move the "
        "file away"
    )
