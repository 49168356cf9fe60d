"""Images are fetched into a folder, from the command line."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import dataset_list
from classification.artifacts.dataset_list import DatasetEntry
from classification.download_images import main
from classification.runtime import locking
from tests.web import Reply, serving, serving_folder

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]
NAMES = ("wcs/p/a.jpg", "wcs/p/b c.jpg", "idfg/x.JPG")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "list.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return tmp_path


def run(*words: str) -> int:
    return main([*words, "--logdir", "logs", "--tries", "1"])


def saved(base: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(base / "saved")): path.read_bytes()
        for path in (base / "saved").rglob("*")
        if path.is_file()
    }


def log(base: Path) -> Any:  # noqa: ANN401 - JSON
    [path] = (base / "logs").glob("download_images_log_*.json")
    return json.loads(path.read_bytes())


def test_a_text_list_keeps_its_names(base: Path) -> None:
    assert run("txt", "list.txt", "saved", "--images-dir", "images") == 0
    assert saved(base) == {name: name.encode() for name in NAMES}


def test_a_text_list_may_be_called_json(base: Path) -> None:
    """As users' notes have it: mislabeled_candidates_{split}_{dataset}.json."""
    (base / "list.txt").rename("mislabeled_candidates_test_wcs.json")
    candidates = "mislabeled_candidates_test_wcs.json"
    assert run("txt", candidates, "saved", "--images-dir", "images") == 0
    assert len(saved(base)) == len(NAMES)


def test_images_come_from_the_web_by_many_threads(base: Path) -> None:
    with serving_folder(base / "images") as web:
        where = (
            "--base-url",
            f"wcs={web.url}/wcs",
            "--base-url",
            f"idfg={web.url}/idfg/",
        )
        assert run("txt", "list.txt", "saved", *where, "--threads", "50") == 0
        assert sorted(web.asked) == ["/idfg/x.JPG", "/wcs/p/a.jpg", "/wcs/p/b%20c.jpg"]
    assert saved(base) == {name: name.encode() for name in NAMES}


def test_the_metadata_store_knows_where_each_dataset_is(base: Path) -> None:
    with serving_folder(base / "images") as web:
        entries = {
            "wcs": DatasetEntry(base_url=f"{web.url}/wcs/", path_prefix="p"),
            "idfg": DatasetEntry(root=str(base / "images/idfg")),
        }
        dataset_list.write(base / "megadb", entries)
        assert run("txt", "list.txt", "saved", "--megadb", "megadb") == 0
    assert saved(base) == {name: name.encode() for name in NAMES}


def write_entries(base: Path, document: object) -> None:
    (base / "list.json").write_text(json.dumps(document), encoding="utf-8")


def test_json_entries_say_what_to_save_an_image_as(base: Path) -> None:
    dataset_list.write(
        base / "megadb",
        {"wcs": DatasetEntry(root=str(base / "images/wcs"), path_prefix="p")},
    )
    entries = [
        {"file": "a.jpg", "dataset": "wcs", "name": "wcs+1", "new_entry": True},
        {"file": "wcs/p/b c.jpg", "name": "two.jpg", "new_entry": False},
    ]
    write_entries(base, {"found": entries})
    words = ("--key", "found", "--save-key", "name", "--megadb", "megadb")
    assert run("json", "list.json", "saved", *words, "--only-new-images") == 0
    assert saved(base) == {"wcs+1.jpg": b"wcs/p/a.jpg"}
    assert run("json", "list.json", "saved", *words) == 0
    assert saved(base)["two.jpg"] == b"wcs/p/b c.jpg"


def test_a_detections_json_is_a_list_of_images(base: Path) -> None:
    write_entries(base, {"images": [{"file": name} for name in NAMES], "info": {}})
    words = ("--key", "images", "--save-key", "file", "--images-dir", "images")
    assert run("json", "list.json", "saved", *words) == 0
    assert len(saved(base)) == len(NAMES)


def test_what_is_there_is_kept_and_what_is_at_hand_is_linked(base: Path) -> None:
    (base / "saved/wcs/p").mkdir(parents=True)
    (base / "saved/wcs/p/a.jpg").write_bytes(b"kept")
    (base / "hand/idfg").mkdir(parents=True)
    (base / "hand/idfg/x.JPG").write_bytes(b"at hand")
    words = ("--check-existing-dir", "hand", "--images-dir", "images")
    assert run("txt", "list.txt", "saved", *words) == 0
    assert saved(base)["wcs/p/a.jpg"] == b"kept"
    assert (base / "saved/idfg/x.JPG").samefile(base / "hand/idfg/x.JPG")
    counts = log(base)["counts"]
    assert (counts["images_existing"], counts["images_linked"]) == (1, 1)


@pytest.mark.parametrize("is_remote", [False, True])
def test_what_is_there_and_changed_is_fetched_anew_if_asked(
    base: Path, is_remote: bool
) -> None:
    first, second, _ = (base / "images" / name for name in NAMES)
    with serving_folder(base / "images") as web:
        words = ["--base-url", web.url] if is_remote else ["--images-dir", "images"]
        line = ("txt", "list.txt", "saved", *words)
        assert run(*line) == 0
        first.write_bytes(first.read_bytes() + b"more")
        data = second.read_bytes()
        second.write_bytes(data[::-1])
        later = time.time_ns() + 10**10  # a server tells whole seconds
        os.utime(second, ns=(later, later))
        (base / "logs").rename(base / "logs of it")
        assert run(*line) == 0
        assert log(base)["counts"]["images_existing"] == 3
        (base / "logs").rename(base / "more logs")
        assert run(*line, "--verify") == 0
    counts = log(base)["counts"]
    assert (counts["images_existing"], counts["images_fetched"]) == (1, 2)
    assert saved(base) == {
        name: (base / "images" / name).read_bytes() for name in NAMES
    }


def test_d38_d40_a_lost_image_is_listed_and_ends_nothing(
    base: Path, capsys: Capture
) -> None:
    (base / "images/wcs/p/a.jpg").unlink()
    with serving_folder(base / "images") as web:
        assert run("txt", "list.txt", "saved", "--base-url", web.url) == 0
    found = log(base)
    assert found["failures"] == [{"item": "wcs/p/a.jpg", "reason": "no such file"}]
    assert found["images_failed_download"] == ["wcs/p/a.jpg"]
    assert len(saved(base)) == 2
    assert "1 of 3 failed" in capsys.readouterr().err


def test_too_many_failures_are_exit_4(base: Path) -> None:
    (base / "images/wcs/p/a.jpg").unlink()
    words = ("--images-dir", "images", "--max-failures", "0")
    assert run("txt", "list.txt", "saved", *words) == 4


def test_a_cut_off_answer_is_tried_again_and_leaves_no_part(base: Path) -> None:
    (base / "list.txt").write_text("wcs/a.jpg\n", encoding="utf-8")
    cut, whole = Reply(b"ab", length=6), Reply(b"abcdef")
    with serving(cut, whole) as web:
        words = ("txt", "list.txt", "saved", "--base-url", web.url)
        assert main([*words, "--logdir", "logs", "--tries", "2"]) == 0
    assert saved(base) == {"wcs/a.jpg": b"abcdef"}
    with serving(cut) as web:
        (base / "saved/wcs/a.jpg").unlink()
        assert run("txt", "list.txt", "saved", "--base-url", web.url) == 4
    assert saved(base) == {}


def test_a_token_is_in_no_message_and_no_log(base: Path, capsys: Capture) -> None:
    with serving(Reply(status=403)) as web:
        words = ("--base-url", f"{web.url}/c?sig=SECRET", "--verbose")
        assert run("txt", "list.txt", "saved", *words) == 1
    captured = capsys.readouterr()
    assert "SECRET" not in captured.out + captured.err + json.dumps(log(base))
    assert captured.err.endswith("lets nobody in with this token: HTTP 403 Forbidden\n")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("txt", "../a.jpg", "list.txt: line 1: '../a.jpg' leaves its folder"),
        ("txt", "", "list.txt: the list is empty"),
        (
            "json",
            '[{"file": "a.jpg", "download_id": "../x"}]',
            "list.json: [0].download_id: '../x.jpg' leaves its folder",
        ),
        (
            "json",
            '[{"file": "a.jpg", "download_id": "x"}, {"file": "b.jpg", "download_id": "x"}]',
            "list.json: 'b.jpg' and 'a.jpg' are both to be saved as 'x.jpg'",
        ),
    ],
)
def test_a_faulty_list_is_one_line(
    base: Path, name: str, content: str, message: str, capsys: Capture
) -> None:
    (base / f"list.{name}").write_text(content, encoding="utf-8")
    assert run(name, f"list.{name}", "saved", "--images-dir", "images") == 1
    assert capsys.readouterr().err.splitlines() == [f"error: {message}"]
    assert not (base / "saved").exists()


@pytest.mark.usefixtures("base")
def test_nobody_says_where_the_images_are(capsys: Capture) -> None:
    assert run("txt", "list.txt", "saved") == 1
    assert "where are the images?" in capsys.readouterr().err
    assert run("txt", "list.txt", "saved", "-i", "wcs=images/wcs") == 1
    assert "the dataset 'idfg': nobody says" in capsys.readouterr().err


def test_d39_names_that_a_disk_takes_for_one_are_fetched_once(base: Path) -> None:
    for name in ("wcs/P/A.jpg", "wcs/con/a.jpg"):
        path = base / "images" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"another")
    (base / "list.txt").write_text("wcs/p/a.jpg\nwcs/P/A.jpg\nwcs/con/a.jpg\n")
    assert run("txt", "list.txt", "saved", "--images-dir", "images") == 0
    assert saved(base) == {"wcs/p/a.jpg": b"wcs/p/a.jpg"}
    assert {one["item"]: one["reason"] for one in log(base)["failures"]} == {
        "wcs/P/A.jpg": (
            "some disks cannot tell its name from 'wcs/p/a.jpg', which stands before it"
        ),
        "wcs/con/a.jpg": (
            "its name holds 'con', which is a device on Windows; rename it"
        ),
    }


def test_a_second_run_into_the_same_folder_ends_with_one_line(
    base: Path, capsys: Capture
) -> None:
    with locking.only_run(base / "saved", "download_images", base / "list.txt"):
        assert run("txt", "list.txt", "saved", "--images-dir", "images") == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: another run of download_images is writing the same into saved; "
        "wait for it to end"
    )
    assert saved(base) == {}
    assert run("txt", "list.txt", "saved", "--images-dir", "images") == 0
    assert len(saved(base)) == len(NAMES)
