"""What is wrong with images is told from the command line."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from classification.analyze_failed_images import main
from classification.artifacts import image_status
from classification.artifacts.image_status import Status
from classification.cropping import images
from tests.web import Reply, serving, serving_folder
from tests.world import jpeg_bytes, photograph

if TYPE_CHECKING:
    from pathlib import Path

    from classification.cropping.images import OpenedImage

Capture = pytest.CaptureFixture[str]
WHOLE = jpeg_bytes(photograph(160, 120))
CONTENTS = {
    "d/good.jpg": WHOLE,
    "d/half.jpg": WHOLE[: len(WHOLE) // 2],
    "d/bad.JPG": b"<html>",
    "d/notes.txt": b"text",
}
NAMES = [*CONTENTS, "d/gone.jpg"]
COUNTS = "status,images\nnon_image,1\nnonexistent,1\ngood,1\ntruncated,1\nbad,1\n"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, data in CONTENTS.items():
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def write_list(base: Path, name: str = "list.txt", end: str = "\n") -> None:
    (base / name).write_text(end.join(NAMES) + end, encoding="utf-8", newline="")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_d21_the_lines_of_a_text_end_before_their_newline(
    base: Path, end: str, capsys: Capture
) -> None:
    write_list(base, end=end)
    assert main(["list.txt", "--images-dir", "images"]) == 0
    assert capsys.readouterr().out == COUNTS + "unreachable,0\n"


def test_each_image_has_a_row(base: Path) -> None:
    write_list(base)
    assert main(["list.txt", "-i", "images", "--output-csv", "status.csv"]) == 0
    rows = list(image_status.read(base / "status.csv"))
    assert [(row.image, row.status) for row in rows] == [
        ("d/bad.JPG", Status.BAD),
        ("d/gone.jpg", Status.NONEXISTENT),
        ("d/good.jpg", Status.GOOD),
        ("d/half.jpg", Status.TRUNCATED),
        ("d/notes.txt", Status.NON_IMAGE),
    ]
    assert all(row.reason for row in rows[:2])


def test_the_log_of_a_step_is_a_list(base: Path, capsys: Capture) -> None:
    log = {"step": "x", "first": NAMES[:3], "second": NAMES[2:]}
    (base / "log.json").write_text(json.dumps(log), encoding="utf-8")
    words = ["--json-keys", "first", "second", "--images-dir", "images"]
    assert main(["log.json", *words]) == 0
    assert capsys.readouterr().out.startswith(COUNTS)
    assert main(["log.json", "--images-dir", "images"]) == 1
    assert "lists are under: first, second" in capsys.readouterr().err


def test_list_and_images_may_be_on_the_web(base: Path, capsys: Capture) -> None:
    write_list(base)
    with serving_folder(base) as web:
        words = ["--base-url", f"{web.url}/images", "--threads", "8"]
        assert main([f"{web.url}/list.txt", *words]) == 0
    assert capsys.readouterr().out.startswith(COUNTS)


def test_a_faulty_list_on_the_web_is_named_by_its_address(
    base: Path, capsys: Capture
) -> None:
    (base / "list.json").write_text('{"a": 3}', encoding="utf-8")
    with serving_folder(base) as web:
        words = [f"{web.url}/list.json?sig=SECRET", "-k", "a", "-i", "images"]
        assert main(words) == 1
        expected = f"error: {web.url}/list.json: no list is under the key 'a'"
    assert capsys.readouterr().err.startswith(expected)


def test_what_cannot_be_told_is_counted_apart(base: Path, capsys: Capture) -> None:
    write_list(base)
    with serving(Reply(status=503)) as web:
        words = ["--base-url", web.url, "--tries", "1"]
        assert main(["list.txt", *words]) == 0
        assert "unreachable,4" in capsys.readouterr().out
        assert main(["list.txt", *words, "--max-failures", "3"]) == 4


def test_d38_a_server_that_is_gone_ends_the_run_in_one_line(
    base: Path, capsys: Capture
) -> None:
    names = "".join(f"d/{number}.jpg\n" for number in range(60))
    (base / "list.txt").write_text(names, encoding="utf-8")
    words = ["--base-url", "http://127.0.0.1:1", "--tries", "1", "-o", "status.csv"]
    assert main(["list.txt", *words]) == 1
    assert "25 images in a row" in capsys.readouterr().err
    assert not (base / "status.csv").exists()


def test_d55_images_are_decoded_side_by_side(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """All threads are inside the decoder at once, which a lock would not let them be."""
    names = [f"d/{number}.jpg" for number in range(8)]
    for number, name in enumerate(names):
        data = WHOLE[: len(WHOLE) // 2] if number % 2 else WHOLE
        (base / "images" / name).write_bytes(data)
    (base / "list.txt").write_text("\n".join(names), encoding="utf-8")
    together = threading.Barrier(4, timeout=20)
    decode = images.open_image

    def wait_and_decode(data: bytes, *, max_pixels: int) -> OpenedImage:
        together.wait()
        return decode(data, max_pixels=max_pixels)

    monkeypatch.setattr(images, "open_image", wait_and_decode)
    assert main(["list.txt", "-i", "images", "--threads", "4"]) == 0
    out = capsys.readouterr().out
    assert "good,4" in out
    assert "truncated,4" in out


def test_a_list_of_nothing_is_nothing_wrong(base: Path, capsys: Capture) -> None:
    (base / "log.json").write_text('{"failed": []}', encoding="utf-8")
    assert main(["log.json", "-k", "failed", "-i", "images"]) == 0
    assert "good,0" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [("-a", "account"), ("-c", "container"), ("-s", "token")]
)
def test_a_container_has_an_account_and_a_name(
    words: tuple[str, str], capsys: Capture
) -> None:
    with pytest.raises(SystemExit):
        main(["list.txt", *words])
    assert "belong together" in capsys.readouterr().err


def test_a_container_may_be_said_in_three_words(base: Path, capsys: Capture) -> None:
    write_list(base)
    served = base / "served" / "c" / "d"
    served.mkdir(parents=True)
    (served / "good.jpg").write_bytes(WHOLE)
    with serving_folder(base / "served") as web:
        words = ["-a", web.url, "-c", "c", "-s", "?sig=SECRET"]
        assert main(["list.txt", *words]) == 0
        assert all(path.endswith("?sig=SECRET") for path in web.asked)
    captured = capsys.readouterr()
    assert "good,1" in captured.out
    assert "SECRET" not in captured.out + captured.err
