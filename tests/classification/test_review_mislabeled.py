from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from classification import review_mislabeled
from classification.artifacts import detections, mislabeled_candidates
from classification.artifacts.mislabeled_candidates import Candidate
from detection.boxes import Box
from detection.records import Detection, ImageDetections
from tests.world import photograph, save_jpeg

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


class Desk:
    """Where a person makes review pages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.crops = folder / "crops"
        self.table = folder / mislabeled_candidates.FILENAME
        self.page = folder / "pages/review.html"

    def candidates(self, *names: str) -> None:
        rows = [
            Candidate(
                f"ds/{name}.jpg___crop00.jpg", "ds", "val", "elk", "cow", 0.1, 0.9, 0.8
            )
            for name in names
        ]
        mislabeled_candidates.write(self.table, rows)

    def draw(self, *names: str) -> None:
        for name in names:
            save_jpeg(self.crops / f"ds/{name}.jpg___crop00.jpg", photograph(64, 48))

    def run(self, *words: object) -> int:
        return review_mislabeled.main([*map(str, words), "-o", str(self.page)])

    def data(self) -> dict[str, Any]:
        html = self.page.read_text(encoding="utf-8")
        found = re.search(r'id="review-data">(.*?)</script>', html)
        assert found
        data: dict[str, Any] = json.loads(found[1])
        return data


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_candidates_become_a_page(desk: Desk, capsys: Capture) -> None:
    desk.candidates("a", "b", "c")
    desk.draw("a", "c")
    assert desk.run(desk.table, desk.crops) == 0
    *_, missing, last = capsys.readouterr().err.splitlines()
    assert missing == "ds/b.jpg___crop00.jpg: no such file"
    assert re.fullmatch(
        r"wrote .*review.html: 3 of 3 labels, 1 pictures could not be shown; 0.\d MB",
        last,
    )
    assert [one["image"] for one in desk.data()["subjects"]] == [
        "ds/a.jpg",
        "ds/b.jpg",
        "ds/c.jpg",
    ]
    assert desk.data()["classes"] == {"": ["cow", "elk"]}


def test_the_same_bytes_every_time(desk: Desk) -> None:
    desk.candidates("a", "b")
    desk.draw("a", "b")
    desk.run(desk.table, desk.crops)
    first = desk.page.read_bytes()
    desk.run(desk.table, desk.crops)
    assert desk.page.read_bytes() == first


def test_the_rest_is_for_another_page(desk: Desk, capsys: Capture) -> None:
    desk.candidates("a", "b", "c")
    desk.draw("a", "b", "c")
    assert desk.run(desk.table, desk.crops, "--most", 1, "--skip", 1) == 0
    assert [one["image"] for one in desk.data()["subjects"]] == ["ds/b.jpg"]
    told = capsys.readouterr().err
    assert "1 labels did not fit; --skip 2 makes a page of the next ones" in told


def test_without_a_single_picture_it_says_so(desk: Desk, capsys: Capture) -> None:
    desk.candidates("a", "b")
    assert desk.run(desk.table, desk.folder) == 4
    *_, last = capsys.readouterr().err.splitlines()
    assert last == (
        f"error: none of 2 pictures can be shown; {desk.folder} holds no "
        "'ds/a.jpg___crop00.jpg', for one: no such file"
    )
    assert desk.page.is_file()


def test_nothing_to_review_is_a_page(desk: Desk) -> None:
    desk.candidates()
    assert desk.run(desk.table, desk.crops) == 0
    assert "There is nothing to review." in desk.page.read_text()


def test_detections_become_a_page(desk: Desk) -> None:
    box = Detection("1", Box(0.25, 0.25, 0.5, 0.5), 0.15, (("0", 0.75), ("1", 0.125)))
    merged = desk.folder / "merged.JSON"
    header = detections.Header(
        info={"format_version": "1.6"},
        detection_categories={"1": "animal"},
        classification_categories={"0": "elk", "1": "cow"},
    )
    image = msgspec.json.encode(ImageDetections("a.jpg", (box,)))
    detections.write(merged, header, [image])
    save_jpeg(desk.folder / "images/a.jpg", photograph(64, 48))
    words = (merged, "-i", desk.folder / "images", "--dataset", "cams")
    assert desk.run(*words) == 0
    assert desk.data()["subjects"] == []
    assert desk.run(*words, "--threshold", 0.1) == 0
    assert desk.data()["subjects"] == [
        {
            "image": "cams/a.jpg",
            "dataset": "cams",
            "label": "elk",
            "predicted": "cow",
            "split": "",
            "suggestion": "cow",
        }
    ]
    frame = '<rect class="frame meant" x="16.0" y="12.0" width="32.0" height="24.0"/>'
    assert frame in desk.page.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["c.csv"], "needs the folder of its crops"),
        (["c.csv", "crops", "-i", "images"], "neither --images-dir nor --dataset"),
        (["c.csv", "crops", "--dataset", "a"], "neither --images-dir nor --dataset"),
        (["m.json"], "needs --images-dir"),
        (["m.json", "crops", "-i", "images"], "no folder of crops"),
    ],
)
def test_what_belongs_to_the_other_kind_is_refused(
    desk: Desk, words: list[str], message: str, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as ending:
        desk.run(*words)
    assert ending.value.code == 2
    assert message in capsys.readouterr().err


def test_a_broken_table_is_one_line(desk: Desk, capsys: Capture) -> None:
    desk.table.write_text("path\n")
    assert desk.run(desk.table, desk.crops) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {desk.table}: row 1: the column dataset is missing")
    assert not desk.page.exists()
