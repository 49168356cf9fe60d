"""One command makes one page of an evaluation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import torch

from classification import evaluate_model, report_results
from classification.artifacts import predictions, run_params
from classification.artifacts.run_params import RunParams
from classification.modeling import checkpoints, manifest, networks
from classification.modeling.checkpoints import Checkpoint
from tests import classifiers, results_world
from tests.browser import needs_browser, opened
from tests.examples import write_examples
from tests.results_world import LABELS, World

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(2)'>",
    "javascript:alert(3)",
    "\u202egnp.exe\u200b\ttab\nline",
    "n" * 300,
    "{{ 7 * 7 }}",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return results_world.make(tmp_path)


def main(*words: object) -> int:
    return report_results.main([*map(str, words)])


def page_of(world: World) -> Path:
    return world.logdir() / report_results.OUTPUT


def calibrated(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    model = classifiers.save_exported(folder / "m.onnx", labels=labels)
    classifiers.calibrate(model, temperature=1.6)
    return manifest.path_beside(model)


def test_the_page_stands_in_the_folder(world: World) -> None:
    assert main(world.logdir()) == 0
    html = page_of(world).read_text(encoding="utf-8")
    assert "Results of 20261122_204715" in html
    assert html.count("data:image/jpeg;base64,") > 100
    assert "efficientnet-b0" in html


def test_the_same_inputs_give_the_same_bytes(world: World, tmp_path: Path) -> None:
    other = results_world.evaluate(world, "other", seed=1)
    words = (world.logdir(), "--compare", other, "--manifest", calibrated(tmp_path))
    pages = [tmp_path / f"{number}.html" for number in range(2)]
    for page in pages:
        assert main(*words, "--output", page) == 0
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_other_folders_may_hold_crops_and_set(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.logdir() / run_params.FILENAME).unlink()
    assert main(world.logdir()) == 0
    said = capsys.readouterr().err
    assert "no pictures: --crops says" in said
    assert "--dataset-dir says" in said
    assert "data:image" not in page_of(world).read_text(encoding="utf-8")
    words = ("--crops", world.crops, "--dataset-dir", world.dataset)
    assert main(world.logdir(), *words) == 0
    html = page_of(world).read_text(encoding="utf-8")
    assert "data:image" in html
    assert "ds/place test 1" in html
    assert main(world.logdir(), "--dataset-dir", tmp_path) == 1
    assert "holds no classification_ds.csv" in capsys.readouterr().err


def test_there_are_no_more_pictures_than_asked(world: World) -> None:
    assert main(world.logdir(), "--thumbnails", 20) == 0
    html = page_of(world).read_text(encoding="utf-8")
    assert 0 < html.count("<img ") <= 20


def test_a_split_with_few_sure_answers_says_so(world: World) -> None:
    results_world.evaluate(world, "few", crops={"test": 1})
    assert main(world.logdir("few"), "--sample", 0) == 0
    html = (world.logdir("few") / report_results.OUTPUT).read_text(encoding="utf-8")
    assert "No answer has a probability of 0.99 or more." in html


def test_missing_crops_are_counted(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (world.crops / "ds/test").iterdir():
        path.write_bytes(b"no picture")
    assert main(world.logdir(), "--splits", "test") == 0
    html = page_of(world).read_text(encoding="utf-8")
    assert html.count('<span class="gone">not an image file</span>') > 10
    assert re.search(r"\d+ crops could not be read", html)
    assert "0 pictures" in capsys.readouterr().err


def test_a_manifest_must_be_calibrated_and_of_this_model(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = classifiers.save_exported(tmp_path / "raw.onnx", labels=LABELS)
    assert main(world.logdir(), "--manifest", manifest.path_beside(model)) == 1
    assert "calibrate_classifier does that" in capsys.readouterr().err
    other = calibrated(tmp_path / "other", ("a", "b"))
    assert main(world.logdir(), "--manifest", other) == 1
    assert "of other labels" in capsys.readouterr().err
    assert not page_of(world).exists()


def test_a_broken_file_is_one_line_that_says_where(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world.logdir() / predictions.outputs_name("val")
    path.write_text("path,label,weight,bear\na.jpg,bear,1,2.5\n", encoding="utf-8")
    assert main(world.logdir()) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")
    assert not page_of(world).exists()


def test_what_evaluate_model_leaves_is_shown(tmp_path: Path) -> None:
    labels = ("bird", "deer", "elk")
    examples = write_examples(tmp_path / "run", labels)
    torch.manual_seed(0)
    network = networks.build("timm/test_efficientnet", 3, image_size=32)
    checkpoint = tmp_path / "log/ckpt_0.pt"
    checkpoint.parent.mkdir()
    state = classifiers.lively(network, 32).state_dict()
    checkpoints.write(checkpoint, Checkpoint(model=state, epoch=0, val_accuracy=50.0))
    told = RunParams(
        dataset_dir=str(examples.dataset_dir),
        cropped_images_dir=str(examples.crops_dir),
        model_name="timm/test_efficientnet",
        image_size=32,
    )
    params = tmp_path / "run/log" / run_params.FILENAME
    params.parent.mkdir()
    run_params.write(params, told)
    words = ["--output-dir", str(params.parent), "--splits", "test", "--device", "cpu"]
    assert evaluate_model.main([str(params), str(checkpoint), *words]) == 0
    assert main(params.parent) == 0
    html = (params.parent / report_results.OUTPUT).read_text(encoding="utf-8")
    assert "metrics.json is missing" not in html
    assert html.count('class="ends"') > 10


@pytest.mark.browser
class TestInABrowser:
    """What a person does with the page."""

    pytestmark = needs_browser

    def test_a_click_on_a_cell_shows_its_crops(self, world: World) -> None:
        assert main(world.logdir()) == 0
        with opened(page_of(world)) as page:
            cell = page.locator("#s0 table.matrix td.off a").first
            told = cell.locator("..").get_attribute("title")
            cell.click()
            section = page.locator(":target")
            assert section.count() == 1
            assert section.locator("img").first.is_visible()
            assert section.evaluate("one => one.getBoundingClientRect().top") < 900
            assert told is not None
            count, _, names = told.partition(": ")
            assert section.inner_text().split("\n")[0] == (
                f"✗ taken for {names.partition(' → ')[2]} {count.split()[0]} crop"
                + ("" if count.startswith("1 ") else "s")
            )
            shape = "one => [one.naturalWidth, one.naturalHeight]"
            assert min(section.locator("img").first.evaluate(shape)) > 30

    def test_a_matrix_keeps_its_diagonal_in_any_order(self, world: World) -> None:
        assert main(world.logdir()) == 0
        with opened(page_of(world)) as page:
            before = _cells(page)
            for name in ("recall", "size", "label"):
                page.locator("#s0 .toolbar").first.get_by_text(name).click()
                now = _cells(page)
                assert {**now} == {**before}
                rows = page.locator("#s0 table.matrix").first.locator("tbody tr")
                recalls = [
                    float(
                        row.get_attribute(
                            "data-" + ("size" if name == "size" else "recall")
                        )
                        or 0
                    )
                    for row in rows.all()
                ]
                if name == "recall":
                    assert recalls == sorted(recalls)
                if name == "size":
                    assert recalls == sorted(recalls, reverse=True)
            assert list(now) == list(before)

    def test_labels_are_sorted_by_a_click(self, world: World) -> None:
        assert main(world.logdir()) == 0
        with opened(page_of(world)) as page:
            table = page.locator("#s0 table.sortable").first
            table.get_by_role("button", name="Recall").click()
            values = [
                float(cell.get_attribute("data-value") or "inf")
                for cell in table.locator("tbody tr td:nth-child(5)").all()
            ]
            assert values == sorted(values)
            assert table.locator("tfoot").inner_text().startswith("Mean of all labels")

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_hostile_names_are_text(self, tmp_path: Path, scheme: str) -> None:
        world = results_world.make(
            tmp_path, labels=(*HOSTILE, "other"), location="<b onclick=alert(4)>x"
        )
        other = results_world.evaluate(world, "<i>other", seed=1)
        assert main(world.logdir(), "--compare", other) == 0
        with opened(page_of(world), scheme=scheme) as page:
            heads = page.locator("#s0 table.matrix").first.locator("thead th")
            assert heads.nth(0).inner_text() == HOSTILE[0]
            assert heads.nth(3).inner_text() == r"\u202egnp.exe\u200b\ttab\nline"
            assert heads.nth(5).inner_text() == HOSTILE[5]
            assert page.locator("img[src=x]").count() == 0
            assert page.locator("main script, main b[onclick]").count() == 0
            for link in page.locator("a").all():
                assert (link.get_attribute("href") or "").startswith("#")
            wide = "document.documentElement.scrollWidth"
            assert page.evaluate(wide) <= 1280
            page.locator("#s0 table.matrix td.off a").first.click()
            page.get_by_role("button", name="recall").first.click()

    def test_many_labels_are_readable(self, tmp_path: Path) -> None:
        labels = tuple(f"species number {number}" for number in range(169))
        crops = {"test": 600}
        world = results_world.make(tmp_path, labels=labels, crops=crops)
        assert main(world.logdir(), "--thumbnails", 100) == 0
        assert page_of(world).stat().st_size < 5_000_000
        with opened(page_of(world)) as page:
            box = page.locator("#s0 .matrixbox").first
            box.evaluate("one => one.scrollTo(1500, 1500)")
            corner = box.bounding_box()
            assert corner is not None
            middle = box.locator("tbody tr").nth(80)
            side, head = middle.locator("th"), box.locator("thead th").nth(80)
            assert side.bounding_box()["x"] == pytest.approx(corner["x"], abs=3)  # type: ignore[index]  # it is shown
            assert head.bounding_box()["y"] == pytest.approx(corner["y"], abs=3)  # type: ignore[index]  # likewise
            cell = middle.locator("td:not(.gap)").first.bounding_box()
            assert cell is not None
            assert cell["width"] >= 20
            assert cell["height"] >= 20


def _cells(page) -> dict[tuple[str, str], str]:  # type: ignore[no-untyped-def]  # noqa: ANN001 - Playwright's page
    """Reads the numbers of the first matrix by the labels that they stand at."""
    found = page.locator("#s0 table.matrix").first.evaluate(
        """table => {
          const heads = [...table.tHead.rows[0].cells].slice(1).map((one) => one.textContent);
          return [...table.tBodies[0].rows].flatMap((row) => {
            let column = 0;
            return [...row.cells].slice(1).flatMap((cell) => {
              const at = column;
              column += cell.colSpan;
              const own = cell.className === "gap" ? [] : [[row.cells[0].textContent, heads[at], cell.textContent]];
              return own;
            });
          });
        }"""
    )
    return {(row, head): text for row, head, text in found}
