"""The page of a training set: made by the command, and read in a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from PIL import Image

from classification import report_dataset
from classification.artifacts import dataset_csv, splits, step_log
from classification.artifacts.dataset_csv import CropRow
from classification.artifacts.splits import Location, Splits
from tests import training_world
from tests.browser import needs_browser, opened
from tests.classification.reports import dataset_world
from tests.classification.reports.dataset_world import BROKEN, GONE, path_of
from tests.world import jpeg_bytes, write_store

if TYPE_CHECKING:
    from pathlib import Path

PAGE = report_dataset.FILENAME
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "javascript:alert(3)",
    "\u202efdp.exe",
    "{{ 7 * 7 }}",
    "x" * 300,
)


def report(base: Path, *flags: str) -> int:
    return report_dataset.main([str(base / "run"), str(base / "crops"), *flags])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = dataset_world.make(tmp_path_factory.mktemp("made"))
    other = base / "other.json"
    one, two, three, four = (Location("d", name) for name in "1234")
    splits.write(other, Splits(train=(one, three), val=(two,), test=(four,)))
    words = ["--megadb", str(base / "megadb"), "--compare-splits", str(other)]
    assert report(base, *words) == 0
    return base


def test_the_page_tells_all_of_it(made: Path) -> None:
    html = (made / "run" / PAGE).read_text("utf-8")
    for anchor in re.findall(r'href="#([\w-]+)"', html):
        assert f'id="{anchor}"' in html, anchor
    assert "<title>Training set run</title>" in html
    assert "Crops of val that look nearly the same as one of train: 1 of 2;" in html
    assert html.count('class="gone"') == 2


def test_what_cannot_be_read_is_in_the_log(made: Path) -> None:
    [path] = (made / "run").glob(f"{report_dataset.STEP}_log_*.json")
    log = pd.read_json(path, typ="series")
    assert [one["item"] for one in log["failures"]] == sorted(
        map(path_of, (GONE, BROKEN))
    )
    assert log["counts"] == {
        "crops": 8,
        "opened": 8,
        "unreadable": 2,
        "near_duplicate_pairs": 1,
    }
    assert step_log.TIMESTAMP


def test_the_same_files_make_the_same_page(tmp_path: Path) -> None:
    base = dataset_world.make(tmp_path)
    outputs = [tmp_path / "a.html", tmp_path / "b.html"]
    for output, threads in zip(outputs, "14", strict=True):
        assert report(base, "--output", str(output), "--threads", threads) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_other_seeds_draw_other_crops(tmp_path: Path) -> None:
    training_world.make(tmp_path, per_location=8)
    names = []
    for seed in "01":
        output = tmp_path / f"{seed}.html"
        flags = ("--output", str(output), "--seed", seed, "--no-pixels")
        assert report(tmp_path, *flags, "--crops-per-label", "2") == 0
        names.append(re.findall(r'<img [^>]*alt="([^"]*)"', output.read_text("utf-8")))
    assert len(names[0]) == len(names[1]) == 6
    assert names[0] != names[1]


def test_no_more_pictures_than_allowed(tmp_path: Path) -> None:
    training_world.make(tmp_path)
    assert report(tmp_path, "--thumbnails", "9") == 0
    html = (tmp_path / "run" / PAGE).read_text("utf-8")
    assert 0 < html.count("<img ") <= 9
    assert "There is room for no more than 2 of each label instead of 5" in html
    assert report(tmp_path, "--thumbnails", "0") == 0
    html = (tmp_path / "run" / PAGE).read_text("utf-8")
    assert "<img " not in html
    assert "There is no room for a picture of each label" in html


def test_flat_crops_do_not_flood_the_duplicates(tmp_path: Path) -> None:
    rows = training_world.make(tmp_path)
    black = jpeg_bytes(Image.new("RGB", (40, 40)))
    for row in rows:
        (tmp_path / "crops" / row.path).write_bytes(black)
    assert report(tmp_path) == 0
    html = (tmp_path / "run" / PAGE).read_text("utf-8")
    assert "48 crops that are too dark or too even were not compared" in html
    assert "<strong>None.</strong>" in html


def section(base: Path, anchor: str) -> str:
    """Returns the HTML of a section of the page."""
    html = (base / "run" / PAGE).read_text("utf-8")
    found = re.search(rf'<section id="{anchor}">(.*?)</section>', html, re.DOTALL)
    assert found
    return found[1]


def text(base: Path, anchor: str) -> str:
    """Returns the text of a section of the page, in one line."""
    return " ".join(re.sub("<[^>]*>", "", section(base, anchor)).split())


def tables(base: Path, anchor: str) -> int:
    return section(base, anchor).count("<table")


def test_what_is_known_has_tables(made: Path) -> None:
    assert (tables(made, "night"), tables(made, "times")) == (2, 2)


def test_a_store_without_times_is_told_in_a_sentence(tmp_path: Path) -> None:
    dataset_world.make(tmp_path)
    images = [{"file": f"{n}.jpg"} for n in range(len(dataset_world.CROPS) - 1)]
    write_store(tmp_path / "megadb", {"d": images})
    assert report(tmp_path, "--megadb", str(tmp_path / "megadb")) == 0
    assert text(tmp_path, "times") == (
        "Sequences, days and hours The metadata store has 7 of 8 images, and knows no "
        "sequence and no time of any."
    )


@pytest.mark.parametrize("night", [False, True])
def test_crops_by_one_light_are_told_in_a_sentence(
    tmp_path: Path, *, night: bool
) -> None:
    rows = training_world.make(tmp_path)
    picture = dataset_world.picture(0 if night else 12, seed=1)
    for row in rows:
        (tmp_path / "crops" / row.path).write_bytes(jpeg_bytes(picture))
    assert report(tmp_path) == 0
    when = "at night" if night else "by day"
    told = f"All crops that can be read count as taken {when}."
    assert text(tmp_path, "night").endswith(told)
    assert tables(tmp_path, "night") == 0


def test_where_no_crop_can_be_read_there_is_no_light(tmp_path: Path) -> None:
    for row in training_world.make(tmp_path):
        (tmp_path / "crops" / row.path).write_bytes(b"broken")
    assert report(tmp_path) == 4
    assert text(tmp_path, "night").endswith("No crop can be read.")
    assert tables(tmp_path, "night") == 0


def test_too_many_failures_are_told_after_the_page(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    flags = ("--output", str(output), "--logdir", str(tmp_path))
    assert report(made, *flags, "--max-failures", "1") == 4
    assert output.is_file()
    assert report(made, *flags, "--max-failures", "2") == 0


@pytest.mark.parametrize("missing", ["classification_ds.csv", "splits.json"])
def test_a_missing_file_is_named(
    tmp_path: Path, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    training_world.make(tmp_path)
    (tmp_path / "run" / missing).unlink()
    assert report(tmp_path) == 1
    assert missing in capsys.readouterr().err
    assert not (tmp_path / "run" / PAGE).exists()


def test_a_missing_folder_of_crops_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training_world.make(tmp_path)
    (tmp_path / "crops").rename(tmp_path / "elsewhere")
    assert report(tmp_path) == 1
    assert "no such folder" in capsys.readouterr().err


def hostile(base: Path) -> Path:
    """Makes a training set of which every text is hostile."""
    rows, pictures = [], [training_world.crop("fox", number) for number in range(6)]
    for number, text in enumerate(HOSTILE):
        name = text.replace("/", "-")[:200]
        for crop in range(3):
            path = f"{name}/{name}{crop}.jpg___crop00_{'mdv4'}.jpg"
            rows.append(CropRow(path, name, text + str(crop), text, 0.9, text))
            if crop:
                target = base / "crops" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(jpeg_bytes(pictures[number]))
    places = [Location(row.dataset, row.location) for row in rows]
    dataset_csv.write(base / "run" / dataset_csv.FILENAME, rows)
    splits.write(
        base / "run" / splits.FILENAME,
        Splits(
            train=tuple(places[::3]), val=tuple(places[1::3]), test=tuple(places[2::3])
        ),
    )
    return base


class TestInBrowser:
    pytestmark = needs_browser

    def test_figures_are_those_of_pandas(self, made: Path) -> None:
        table = pd.DataFrame(dataset_world.rows())
        table["split"] = table["location"].map(dataset_world.SPLIT_BY_LOCATION)
        wanted = pd.crosstab(table["label"], table["split"])
        with opened(made / "run" / PAGE) as page:
            rows = page.locator("#splits table").first.locator("tbody tr")
            for row in range(rows.count()):
                label = rows.nth(row).locator("th").inner_text()
                cells = rows.nth(row).locator("td").all()
                numbers = [
                    int(cell.get_attribute("data-value") or 0) for cell in cells[1:5]
                ]
                split = wanted.loc[label, ["train", "val", "test"]].tolist()
                assert numbers == [sum(split), *split]

    def test_a_click_sorts_labels_by_their_crops(self, made: Path) -> None:
        with opened(made / "run" / PAGE) as page:
            table = page.locator("#splits table").first
            table.get_by_role("button", name="all").first.click()
            assert table.locator("tbody th").all_inner_texts() == ["owl", "elk", "fox"]

    def test_marked_cells_are_seen(self, made: Path) -> None:
        with opened(made / "run" / PAGE, scheme="dark") as page:
            marked = page.locator("td.extreme")
            plain = page.locator("#splits td.amount:not(.extreme)").first
            ground = "one => getComputedStyle(one).backgroundColor"
            assert marked.count() >= 9
            assert marked.first.evaluate(ground) != plain.evaluate(ground)

    def test_a_finding_leads_to_its_section(self, made: Path) -> None:
        with opened(made / "run" / PAGE) as page:
            page.locator(".findings a[href='#duplicates']").first.click()
            assert page.locator("#duplicates").evaluate(
                "one => Math.abs(one.getBoundingClientRect().top) < 5"
            )
            pictures = page.locator(".pair img")
            assert pictures.count() == 2
            for number in range(2):
                pictures.nth(number).scroll_into_view_if_needed()
                pictures.nth(number).evaluate("image => image.decode()")

    @pytest.mark.parametrize("width", [1280, 400])
    def test_nothing_is_wider_than_the_window(self, made: Path, width: int) -> None:
        with opened(made / "run" / PAGE) as page:
            page.set_viewport_size({"width": width, "height": 900})
            wide = "document.documentElement.scrollWidth"
            assert page.evaluate(wide) <= width

    def test_hostile_texts_are_shown_and_do_nothing(self, tmp_path: Path) -> None:
        assert report(hostile(tmp_path)) == 0
        with opened(tmp_path / "run" / PAGE) as page:
            shown = (
                page.locator("#splits table")
                .first.locator("tbody th")
                .all_inner_texts()
            )
            for text in HOSTILE:
                assert text.replace("\u202e", "\\u202e") in shown
            assert page.locator(".gone").count() == len(HOSTILE)
            assert page.locator("a:not([href^='#'])").count() == 0
            assert page.evaluate("document.documentElement.scrollWidth") <= 1280
