"""Wrong labels from end to end: found, reviewed in a browser, kept, and queried anew."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from classification.artifacts import (
    dataset_csv,
    label_index,
    mislabeled_candidates,
    predictions,
)
from classification.artifacts.predictions import Evaluated
from tests import world
from tests.browser import needs_browser, opened
from tests.commands import command
from tests.detection.detectors.graphs import constant_detector

if TYPE_CHECKING:
    from collections.abc import Mapping

    from playwright.sync_api import Page

pytestmark = [*needs_browser, pytest.mark.slow]

LABELS = ("bird", "deer")
SITES = 4
SPEC = "output_label,type,content\ndeer,family,cervidae\nbird,class,aves\n"


class Said(NamedTuple):
    """What a person says of an image, and what becomes of it.

    Attributes:
        before: the class that the dataset gives it.
        keys: what is pressed when it is shown; words in quotes are typed.
        after: its class from then on; empty where it is left out.
    """

    before: str
    keys: str
    after: str


# The classifier doubts these ten, in this order. What it takes a bird for is a deer, of
# which the dataset has two classes: then P asks for one. A bird is a bird.
DOUBTED = (
    Said("bird", "r", "bird"),
    Said("bird", "w", ""),
    Said("bird", "u", "bird"),
    Said("bird", "p 'el' Enter", "elk"),
    Said("bird", "c 'deer' Enter", "deer"),
    Said("elk", "p", "bird"),
    Said("deer", "c 'elk' Enter", "elk"),
    Said("elk", "r", "elk"),
    Said("deer", "w", ""),
    Said("elk", "u", "elk"),
)
SURE = ("bird", "deer", "elk", "bird", "deer", "elk")


def name_of(number: int) -> str:
    return f"idfg/site {number % SITES}/IMG_{number:04}.JPG"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes labelled images, a detector, a taxonomy and a specification, and goes there."""
    monkeypatch.chdir(tmp_path)
    classes = [*(said.before for said in DOUBTED), *SURE]
    for number in range(len(classes)):
        scene = world.photograph(160, 120, seed=number)
        world.save_jpeg(tmp_path / "images" / name_of(number), scene)
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["filename", "species", "camera"])
        for number, name in enumerate(classes):
            file_name = name_of(number).removeprefix("idfg/")
            table.writerow([file_name, name, number % SITES])
    output = np.zeros((252, 8), dtype=np.float32)
    output[0] = (20, 32, 16, 24, 0.9, 1, 0, 0)  # an animal
    constant_detector(tmp_path / "detector.onnx", output)
    (tmp_path / "spec.csv").write_text(SPEC, encoding="utf-8")
    world.write_taxonomy(tmp_path / "taxonomy.csv", world.DEER_AND_BIRDS)
    return tmp_path


def run(line: str) -> None:
    name, *words = line.split()
    assert command(f"classification.{name}").main(words) == 0, line


QUERY = "json_validator run/label_spec.json taxonomy.csv --megadb megadb --output-dir"
TO_A_TRAINING_SET = f"""
import_metadata labels.csv --megadb megadb --dataset idfg --columns file=filename,label=species,location=camera --images-dir images/idfg
csv_to_json spec.csv run/label_spec.json
{QUERY} run
detect_and_crop run/queried_images.json --detector-output-cache-dir mdcache --detector-version tiny --run-detector --detector detector.onnx --megadb megadb --cropped-images-dir crops --threshold 0.4
create_classification_dataset run --mode csv splits --queried-images-json run/queried_images.json --cropped-images-dir crops --detector-output-cache-dir mdcache --detector-version tiny --threshold 0.4 --val-frac 0.25 --test-frac 0.25
"""


def write_outputs(path: Path) -> None:
    """Writes what a classifier says: of the doubted the other label, the surer the first."""
    rows = list(dataset_csv.read(Path("run") / dataset_csv.FILENAME))
    probabilities = np.zeros((len(rows), len(LABELS)), np.float32)
    for row, crop in enumerate(rows):
        number = int(crop.path.partition("IMG_")[2][:4])
        own = 0.02 * number if number < len(DOUBTED) else 0.9
        label = LABELS.index(crop.label)
        probabilities[row, label], probabilities[row, 1 - label] = own, 1 - own
    batch = Evaluated(
        [crop.path for crop in rows],
        [crop.label for crop in rows],
        np.ones(len(rows), np.float32),
        probabilities,
    )
    predictions.write_evaluated(path, LABELS, [batch])


def review(page: Page, path: Path) -> None:
    """Answers all candidates by keyboard and exports what was said."""
    for said in DOUBTED:
        for key in said.keys.split():
            if key.startswith("'"):
                page.keyboard.type(key.strip("'"))
            else:
                page.keyboard.press(key)
    tally = page.locator("#tally").inner_text()
    assert tally == "10 of 10 answered: 2 right, 6 wrong, 2 unsure"
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Export CSV").click()
    waiting.value.save_as(path)


def queried(folder: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        Path(folder, "queried_images.json").read_bytes()
    )
    return document


def classes(images: Mapping[str, Any]) -> dict[str, str]:
    return {name: image["class"] for name, image in images.items()}


def test_what_a_review_says_is_so_in_the_next_query(base: Path) -> None:
    for line in TO_A_TRAINING_SET.strip().splitlines():
        run(line)
    before = queried("run")
    logdir = Path("run/20261122_204715")
    logdir.mkdir()
    assert tuple(label_index.read(base / "run" / label_index.FILENAME)) == LABELS
    write_outputs(logdir / predictions.outputs_name("folds"))

    run(f"identify_mislabeled_candidates {logdir} --splits folds")
    table = logdir / mislabeled_candidates.FILENAME
    run(
        f"review_mislabeled {table} crops --dataset-csv run/classification_ds.csv "
        "-o review.html"
    )
    with opened(base / "review.html") as page:
        review(page, base / "mislabeled_images.csv")
    run("save_mislabeled . mislabeled_images.csv")
    run(f"{QUERY} run --mislabeled-images megadb_mislabeled")
    after = queried("run")

    changed = {
        name_of(number): said.after
        for number, said in enumerate(DOUBTED)
        if said.after != said.before
    }
    assert len(changed) == 6
    assert classes(after) == {
        name: right
        for name, known in classes(before).items()
        if (right := changed.get(name, known))
    }
    labels = {"bird": "bird", "deer": "deer", "elk": "deer"}
    assert all(one["label"] == [labels[one["class"]]] for one in after.values())
    kept = {name: one for name, one in after.items() if name not in changed}
    assert kept == {name: before[name] for name in kept}
    assert len(kept) == len(DOUBTED) + len(SURE) - len(changed)
