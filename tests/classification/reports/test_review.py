"""The script of the review page, in a real browser."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from classification.artifacts import timelapse_csv
from classification.reports import render
from classification.reports.pictures import inline
from classification.reports.review_page import (
    ANY_DATASET,
    LABELS,
    SCRIPTS,
    TEMPLATE,
    Entry,
    MarkedBox,
    Page,
    Sighting,
    Subject,
    View,
)
from detection.boxes import Box
from tests.browser import needs_browser, opened
from tests.world import jpeg_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from playwright.sync_api import Page as Tab

pytestmark = needs_browser

HEADER = ["File", "RelativePath", "mislabeled", "correct_class"]
CLASSES = ("bobcat", "cattle", "elk", "mule deer", "white-tailed deer")
HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "a\u202egpj.exe",
    '=1+1,"two"\tlines',
    "x" * 300,
)


def subject(
    image: str, label: str = "elk", predicted: str = "cattle", **parts: str
) -> Subject:
    sighting = Sighting(
        name=f"{image}___crop00.jpg",
        label_probability=0.01,
        predicted=predicted,
        predicted_probability=0.98,
    )
    return Subject(
        image=image,
        dataset=image.partition("/")[0],
        label=label,
        sightings=(sighting,),
        split=parts.get("split", "test"),
        suggestion=parts.get("suggestion", predicted),
    )


TEN = [subject(f"ds/ridge_{n % 2}/night/{n}.jpg") for n in range(10)]


def write(
    path: Path, subjects: Sequence[Subject], classes: Sequence[str] = CLASSES
) -> Path:
    picture = inline(jpeg_bytes(Image.new("RGB", (48, 32), (90, 120, 60))), side_px=48)
    entries = [
        Entry(one, tuple(View(sighting, picture) for sighting in one.sightings))
        for one in subjects
    ]
    page = Page(
        wording=LABELS,
        entries=tuple(entries),
        classes_by_dataset={ANY_DATASET: classes},
    )
    render.write(path, TEMPLATE, page, scripts=SCRIPTS)
    return path


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    return write(tmp_path / "review.html", TEN)


def tally(tab: Tab) -> str:
    return tab.locator("#tally").inner_text()


def place(tab: Tab) -> int:
    return int(tab.locator("#stage .quiet").first.inner_text().split()[0])


def verdicts(tab: Tab) -> list[str]:
    found = tab.locator("#cards > li").all()
    return [card.get_attribute("data-verdict") or "" for card in found]


def exported(tab: Tab, folder: Path) -> list[list[str]]:
    """Returns the rows of the export, of whose marks the format's reader says the same.

    The reader passes over the rows of right labels.
    """
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="Export CSV").click()
    assert waiting.value.suggested_filename == "mislabeled_images.csv"
    path = folder / "mislabeled_images.csv"
    waiting.value.save_as(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))
    marked = [
        ("/".join([*folder.split("\\"), name]), right)
        for name, folder, flag, right in rows[1:]
        if flag == "true"
    ]
    read = timelapse_csv.read(path)
    assert [(f"{one.dataset}/{one.file}", one.correct_class) for one in read] == marked
    return rows


def press(tab: Tab, keys: str) -> None:
    for key in keys.split():
        tab.keyboard.press(key)


def test_ten_labels_are_reviewed_by_keyboard_and_exported(
    ten: Path, tmp_path: Path
) -> None:
    with opened(ten) as tab:
        press(tab, "r w u p c")
        tab.keyboard.type("mu")
        assert tab.locator("#classes li").all_inner_texts() == [
            "mule deer",
            "mu (a new class)",
        ]
        press(tab, "Enter c")
        tab.keyboard.type("white-tailed deer")
        press(tab, "Enter r r r r")
        assert tally(tab) == "10 of 10 answered: 5 right, 4 wrong, 1 unsure"
        rows = exported(tab, tmp_path)
        assert tab.locator("#message").inner_text() == (
            "9 images exported; 1 unsure left out."
        )
    assert rows == [
        HEADER,
        ["0.jpg", "ds\\ridge_0\\night", "false", ""],
        ["4.jpg", "ds\\ridge_0\\night", "true", "mule deer"],
        ["6.jpg", "ds\\ridge_0\\night", "false", ""],
        ["8.jpg", "ds\\ridge_0\\night", "false", ""],
        ["1.jpg", "ds\\ridge_1\\night", "true", ""],
        ["3.jpg", "ds\\ridge_1\\night", "true", "cattle"],
        ["5.jpg", "ds\\ridge_1\\night", "true", "white-tailed deer"],
        ["7.jpg", "ds\\ridge_1\\night", "false", ""],
        ["9.jpg", "ds\\ridge_1\\night", "false", ""],
    ]


def test_answers_and_what_was_undone_survive_a_reload(ten: Path) -> None:
    with opened(ten) as tab:
        press(tab, "r w w z")
        assert (tally(tab), place(tab)) == (
            "2 of 10 answered: 1 right, 1 wrong, 0 unsure",
            3,
        )
        tab.reload()
        assert (tally(tab), place(tab)) == (
            "2 of 10 answered: 1 right, 1 wrong, 0 unsure",
            3,
        )
        press(tab, "y")
        assert verdicts(tab)[:4] == ["right", "wrong", "wrong", ""]
        press(tab, "z z z z")
        assert tab.locator("#message").inner_text() == "There is nothing to undo."
        press(tab, "u")
        assert tab.locator("[data-action=redo]").is_disabled()
        assert verdicts(tab)[:3] == ["unsure", "", ""]


def test_other_candidates_have_other_answers(ten: Path) -> None:
    with opened(ten) as tab:
        press(tab, "r")
        write(ten, TEN[1:])
        tab.reload()
        assert tally(tab).startswith("0 of 9")
        write(ten, TEN)
        tab.reload()
        assert tally(tab).startswith("1 of 10")


def test_arrows_and_letters_move(ten: Path) -> None:
    with opened(ten) as tab:
        press(tab, "ArrowRight ArrowRight r ArrowLeft ArrowLeft")
        assert place(tab) == 2
        press(tab, "r n")
        assert place(tab) == 5
        press(tab, "End")
        assert place(tab) == 10
        press(tab, "ArrowRight")
        assert place(tab) == 10
        press(tab, "Home Delete ArrowRight Delete")
        assert verdicts(tab)[:3] == ["", "", "right"]


def test_every_key_has_a_button(ten: Path, tmp_path: Path) -> None:
    with opened(ten) as tab:
        actions = tab.locator("#actions")
        for name in ("Right", "Wrong", "Unsure", "It is cattle"):
            actions.get_by_role("button", name=name).click()
        tab.locator("#correct").fill("lk")
        assert tab.locator("#classes [aria-selected=true]").inner_text() == (
            "lk (a new class)"
        )
        tab.locator("#classes li").first.click()
        for name in ("Next", "Right", "Undo", "Previous"):
            actions.get_by_role("button", name=name).click()
        assert place(tab) == 6
        assert exported(tab, tmp_path)[1:] == [
            ["0.jpg", "ds\\ridge_0\\night", "false", ""],
            ["4.jpg", "ds\\ridge_0\\night", "true", "elk"],
            ["1.jpg", "ds\\ridge_1\\night", "true", ""],
            ["3.jpg", "ds\\ridge_1\\night", "true", "cattle"],
        ]
        tab.get_by_role("button", name="Keys").click()
        press(tab, "r")
        assert tab.locator("#help").is_visible()
        tab.locator("#letters").uncheck()
        tab.get_by_role("button", name="Close").click()
        press(tab, "r w ArrowRight")
        assert place(tab) == 7
        assert tally(tab) == "5 of 10 answered: 1 right, 3 wrong, 1 unsure"


def test_a_class_is_completed(ten: Path, tmp_path: Path) -> None:
    cases = [
        ("ca", "Enter", "cattle"),
        ("deer", "Enter", "deer"),
        ("deer", "ArrowDown Enter", "mule deer"),
        ("DEER", "ArrowUp Enter", "white-tailed deer"),
        ("  wild   boar ", "Enter", "wild boar"),
        ("Elk", "Enter", "elk"),
        ("", "ArrowDown ArrowDown Enter", "cattle"),
    ]
    with opened(ten) as tab:
        for typed, keys, _ in cases:
            press(tab, "c")
            tab.keyboard.type(typed)
            press(tab, keys)
            assert tab.evaluate("document.activeElement.id") == "stage"
        press(tab, "c")
        tab.keyboard.type("wur")
        press(tab, "Escape c Enter")
        assert tab.locator("#message").inner_text().startswith("Type a class first")
        press(tab, "Escape")
        said = {row[0]: row[3] for row in exported(tab, tmp_path)[1:]}
    assert said == {f"{n}.jpg": correct for n, (*_, correct) in enumerate(cases)}


def test_filters_narrow_what_is_reviewed(tmp_path: Path) -> None:
    subjects = [
        subject("a/1.jpg", "elk", "cattle"),
        subject("a/2.jpg", "bobcat", "cattle", split="val"),
        subject("b/3.jpg", "elk", "bobcat"),
        subject("b/night/4.jpg", "elk", "cattle"),
    ]
    with opened(write(tmp_path / "review.html", subjects)) as tab:
        options = tab.locator("#filter-label option").all_inner_texts()
        assert options == ["all", "bobcat (1)", "elk (3)"]
        tab.locator("#filter-label").select_option("=elk")
        tab.locator("#filter-predicted").select_option("=cattle")
        assert tally(tab).endswith("; 2 shown")
        press(tab, "r r")
        tab.locator("#filter-label").select_option("")
        tab.locator("#filter-predicted").select_option("")
        assert verdicts(tab) == ["right", "", "", "right"]
        tab.locator("#filter-state").select_option("open")
        press(tab, "w w")
        assert tab.locator("#stage").inner_text() == "Nothing passes the filters."
        press(tab, "w")
        tab.locator("#filter-state").select_option("wrong")
        tab.locator("#filter-split").select_option("=val")
        assert place(tab) == 2
        tab.locator("#filter-split").select_option("")
        tab.locator("#filter-state").select_option("")
        tab.locator("#filter-dataset").select_option("=b")
        press(tab, "/")
        tab.keyboard.type("NIGHT")
        assert (place(tab), tally(tab)[-9:]) == (4, "; 1 shown")


def test_the_grid_is_walked_by_arrows(ten: Path) -> None:
    with opened(ten) as tab:
        assert not tab.locator("#cards").is_visible()
        press(tab, "g ArrowDown r ArrowLeft w")
        columns = tab.evaluate(
            "getComputedStyle(document.getElementById('cards'))"
            ".gridTemplateColumns.split(' ').length"
        )
        assert verdicts(tab)[columns] == "wrong"
        assert verdicts(tab).count("") == 9
        tab.locator("#cards > li button").nth(8).click()
        assert tab.locator("#cards [aria-current]").count() == 1
        press(tab, "Enter")
        assert place(tab) == 9


def test_a_csv_is_taken_back(ten: Path, tmp_path: Path) -> None:
    source = tmp_path / "from_timelapse.csv"
    source.write_bytes(
        b"\xef\xbb\xbfRelativePath,File,Flag,mislabeled,correct_class\r\n"
        b"ds\\ridge_0\\night,2.jpg,x,TRUE,\r\n"
        b'ds\\ridge_1\\night,3.jpg,x,true,"a ""wild"", cat"\r\n'
        b"\r\n"
        b"ds/ridge_0/night,4.jpg,x,false,\r\n"
        b"ds/ridge_0/night,6.jpg,x,,\r\n"
        b"elsewhere,5.jpg,x,true,"
    )
    with opened(ten) as tab:
        press(tab, "w")
        tab.locator("#file").set_input_files(source)
        tab.locator("#message:not(:empty)").wait_for()
        assert tab.locator("#message").inner_text() == (
            "3 answers changed by from_timelapse.csv; "
            "1 row of images that are not on this page."
        )
        rows = exported(tab, tmp_path)
        assert rows[1:] == [
            ["0.jpg", "ds\\ridge_0\\night", "true", ""],
            ["2.jpg", "ds\\ridge_0\\night", "true", ""],
            ["4.jpg", "ds\\ridge_0\\night", "false", ""],
            ["3.jpg", "ds\\ridge_1\\night", "true", 'a "wild", cat'],
        ]
        press(tab, "z")
        assert tally(tab) == "1 of 10 answered: 0 right, 1 wrong, 0 unsure"
        press(tab, "z")
        tab.locator("#file").set_input_files(tmp_path / "mislabeled_images.csv")
        tab.locator("#tally", has_text="4 of 10").wait_for()
        assert exported(tab, tmp_path) == rows


BROKEN = {
    "": "row 1: the column File is missing",
    "File,RelativePath,mislabeled\n": "row 1: the column correct_class is missing",
    ",".join(HEADER)
    + "\n\na,b,maybe,\n": "row 3: mislabeled is neither true nor false",
    ",".join(HEADER) + "\na,b,false,elk\n": "row 2: a right label with a correct_class",
    ",".join(HEADER) + '\n"a,b': "row 2: not CSV",
    'File,"RelativePath"x\n': "row 1: not CSV",
}


def test_of_a_broken_csv_nothing_is_taken(ten: Path, tmp_path: Path) -> None:
    with opened(ten) as tab:
        for number, (text, reason) in enumerate(BROKEN.items()):
            source = tmp_path / f"{number}.csv"
            source.write_text(text)
            tab.locator("#file").set_input_files(source)
            message = f"{number}.csv: {reason}; nothing was taken from it."
            tab.get_by_text(message, exact=True).wait_for()
        assert tally(tab).startswith("0 of 10")


def test_an_image_of_several_labels_has_one_row(tmp_path: Path) -> None:
    subjects = [
        subject(f"ds/{image}.jpg", label)
        for image in ("both", "one", "two", "half", "unsure")
        for label in ("elk", "deer")
    ]
    answers = [*"rr", *"rp", "p", "c", *"rw", *"ru"]
    with opened(write(tmp_path / "review.html", subjects)) as tab:
        for key in answers:
            press(tab, key)
            if key == "c":
                tab.keyboard.type("bobcat")
                press(tab, "Enter")
        assert exported(tab, tmp_path)[1:] == [
            ["both.jpg", "ds", "false", ""],
            ["half.jpg", "ds", "true", ""],
            ["one.jpg", "ds", "true", "cattle"],
            ["two.jpg", "ds", "true", ""],
        ]


def test_without_one_class_for_what_is_predicted_it_is_typed(tmp_path: Path) -> None:
    page = write(tmp_path / "review.html", [subject("ds/1.jpg", suggestion="")])
    with opened(page) as tab:
        press(tab, "p")
        assert "no single class for “cattle”" in tab.locator("#message").inner_text()
        assert tab.evaluate("document.activeElement.id") == "correct"


def test_where_nothing_is_kept_the_page_says_so(ten: Path) -> None:
    with opened(ten) as tab:
        tab.add_init_script(
            "Storage.prototype.setItem = () => { throw new Error('no'); };"
        )
        tab.reload()
        assert "keeps nothing" in tab.locator("#trouble").inner_text()
        press(tab, "r w")
        assert tally(tab) == "2 of 10 answered: 1 right, 1 wrong, 0 unsure"


def test_what_was_kept_and_makes_no_sense_is_passed_over(ten: Path) -> None:
    with opened(ten) as tab:
        for kept in ("{", "null", '{"changes": [[[99, null, null]]]}', "[]"):
            tab.evaluate(
                "kept => localStorage.setItem(Object.keys(localStorage)[0], kept)", kept
            )
            tab.reload()
            press(tab, "r")
            assert tally(tab).startswith("1 of 10"), kept


def test_what_happens_is_said(ten: Path) -> None:
    with opened(ten) as tab:
        press(tab, "p")
        said = tab.locator("#said")
        assert said.get_attribute("aria-live") == "polite"
        assert said.inner_text() == (
            "1: wrong, it is “cattle” 2 of 10: elk, or cattle; no answer."
        )


def test_hostile_names_are_text_and_are_exported_as_they_are(tmp_path: Path) -> None:
    subjects = [subject(f"{name}/{name}.jpg", name, name) for name in HOSTILE]
    page = write(tmp_path / "review.html", subjects, [*HOSTILE])
    with opened(page) as tab:
        for name in HOSTILE:
            press(tab, "c")
            tab.keyboard.insert_text(name)
            press(tab, "Enter")
        press(tab, "g")
        text = tab.locator("body").inner_text()
        assert "\u202e" not in text
        assert "a\\u202egpj.exe" in text
        assert "<script>alert(1)</script>" in text
        rows = exported(tab, tmp_path)
        tab.set_viewport_size({"width": 360, "height": 800})
        for _ in range(2):
            press(tab, "g")
            wide = tab.evaluate("document.documentElement.scrollWidth")
            assert wide == 360
    correct = {" ".join(name.split()) for name in HOSTILE}
    assert {row[3] for row in rows[1:]} == correct
    images = {"/".join([*row[1].split("\\"), row[0]]) for row in rows[1:]}
    assert images == {f"{name}/{name}.jpg" for name in HOSTILE}


def test_without_scripts_all_are_listed_with_pictures(ten: Path) -> None:
    with opened(ten, scripts=False) as tab:
        assert tab.locator("#by-hand").is_visible()
        assert not tab.locator("#desk").is_visible()
        assert not tab.locator("#actions").is_visible()
        pictures = tab.locator("#cards > li img")
        assert pictures.count() == 10
        assert all(one.is_visible() for one in pictures.all())
        assert tab.get_by_text("ds/ridge_1/night/9.jpg").is_visible()


def test_boxes_lie_on_the_picture(tmp_path: Path) -> None:
    picture = inline(jpeg_bytes(Image.new("RGB", (200, 100), (0, 0, 0))), side_px=200)
    boxes = (
        MarkedBox(Box(0.25, 0.5, 0.5, 0.25), is_meant=True),
        MarkedBox(Box(0.0, 0.0, 0.1, 0.1), is_meant=False),
    )
    sighting = Sighting(name="ds/a.jpg", boxes=boxes)
    one = Subject(image="ds/a.jpg", dataset="ds", label="elk", sightings=(sighting,))
    page = Page(wording=LABELS, entries=(Entry(one, (View(sighting, picture),)),))
    path = tmp_path / "review.html"
    render.write(path, TEMPLATE, page, scripts=SCRIPTS)
    with opened(path) as tab:
        stage = tab.locator("#stage .picture").bounding_box()
        meant = tab.locator("#stage .frame.meant").bounding_box()
    assert stage
    assert meant
    middle = stage["y"] + stage["height"] / 2
    assert meant["width"] == pytest.approx(stage["width"] / 2, abs=4)
    assert meant["y"] == pytest.approx(middle, abs=4)
