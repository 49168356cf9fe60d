"""The documents are true: what they say of the code is compared with the code."""

from __future__ import annotations

import json
import re
import shlex
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from classification.artifacts import (
    dataset_list,
    image_status,
    label_index,
    predictions,
    queried_images,
)
from classification.artifacts.dataset_list import DatasetEntry
from classification.artifacts.image_status import Status
from classification.artifacts.queried_images import QueriedBox, QueriedImage
from detection.boxes import Box
from tests import docs
from tests.commands import COMMANDS, ROOT, SCRIPTS, command, find, parser
from tests.web import serving_folder
from tests.world import label_row, photograph, save_jpeg, write_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def shell_lines(document: Path) -> list[str]:
    """Returns every shell line of a document, one command each."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL)
    return [
        part.strip()
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
        for part in line.split("&&")
    ]


def manifest_lines(document: Path) -> list[str]:
    """Returns every line that a manifest of a document gives to a shell."""
    text = document.read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    folded = [re.findall(r">-\n((?: {14}\S.*\n)+)", block) for block in blocks]
    return [" ".join(line.split()) for lines in folded for line in lines]


def command_lines(document: Path) -> list[str]:
    """Returns every line of a document that calls one of our commands.

    What a job array sets in it is 1, as in its first job.
    """
    lines = [*shell_lines(document), *manifest_lines(document)]
    filled = [re.sub(r"\$\(\(.*?\)\)|\$\w+", "1", line) for line in lines]
    return [line for line in filled if _script(line)]


def _script(line: str) -> str:
    """Returns the word of a shell line that names a command of ours, or ''."""
    words = shlex.split(line, comments=True)
    if words and words[0].rpartition("/")[2] in SCRIPTS:
        return words[0].rpartition("/")[2]
    if words and words[0] == "torchrun":
        return words[words.index("-m") + 1]
    if words and words[0].rpartition("/")[2] in ("python", "python3"):
        script = words[2] if words[1:2] == ["-m"] and len(words) > 2 else words[1]
        return script if find(script) else ""
    return ""


LINES = [(path.name, line) for path in DOCUMENTS for line in command_lines(path)]
USERS_LINES = (
    (ROOT / "tests/golden/command_lines.txt").read_text(encoding="utf-8").splitlines()
)


def test_formats_md_is_what_the_modules_say() -> None:
    written = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    assert written == docs.formats(), "run: python -m tests.docs"


def test_commands_md_is_what_the_parsers_say() -> None:
    written = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert written == docs.commands(), "run: python -m tests.docs"


@pytest.mark.parametrize(("document", "line"), LINES)
def test_a_documented_line_parses(document: str, line: str) -> None:
    script = _script(line)
    words = shlex.split(line, comments=True)
    arguments = words[words.index(next(w for w in words if w.endswith(script))) + 1 :]
    name = find(script)
    assert name is not None, document
    built = parser(name)
    for action in built._actions:
        if getattr(action.type, "__name__", "").startswith("existing_"):
            action.type = str
    built.parse_args(arguments)


def test_job_arrays_start_shards() -> None:
    lines = [line for name, line in LINES if name == "scaling.md"]
    arrays = [line for line in lines if '--shard "1/10"' in line]
    assert [find(_script(line)) for line in arrays] == [
        "detection.run_detector_batch"
    ] * 2


def test_torchrun_starts_what_the_documents_say() -> None:
    from torch.distributed.run import get_args_parser  # noqa: PLC0415 - takes a second

    lines = [line for _, line in LINES if line.startswith("torchrun ")]
    assert lines
    for line in lines:
        read = get_args_parser().parse_args(shlex.split(line)[1:])
        assert read.module
        assert read.training_script == "classification.train_classifier"
        parser(read.training_script).parse_args(read.training_script_args)


@pytest.mark.filterwarnings("ignore:html5lib's sanitizer")  # of tensorboard's own
def test_tensorboard_takes_its_lines() -> None:
    from tensorboard import default, program  # noqa: PLC0415 - takes seconds

    lines = [line for path in DOCUMENTS for line in shell_lines(path)] + USERS_LINES
    shown = [line for line in lines if line.startswith("tensorboard ")]
    assert len(shown) >= 3
    for line in shown:
        board = program.TensorBoard(default.get_plugins())
        board.configure(shlex.split(line, comments=True))
        assert board.flags.logdir


def test_readme_shows_every_command_of_the_main_job() -> None:
    shown = {find(_script(line)) for name, line in LINES if name == "README.md"}
    helpers = {"classification.csv_to_json", "taxonomy.taxonomy_csv_checker"}
    assert set(COMMANDS) - helpers <= shown


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not target.startswith(("http:", "https:")):
                assert (document.parent / target).exists(), f"{document.name}: {target}"


SPECIES = {"bobcat": "lynx rufus", "coyote": "canis latrans"}


def _lila_files(folder: Path) -> None:
    """Writes what LILA has: a table, a taxonomy, detector's results, and images."""
    bucket = "caltech-unzipped/cct_images"
    table = ["dataset_name,url_gcp,image_id,location_id,original_label"]
    images = []
    for number, label in enumerate([*SPECIES] * 4):
        file, name = f"{number}.jpg", "Caltech Camera Traps"
        url = f"https://storage.googleapis.com/public-datasets-lila/{bucket}/{file}"
        table.append(f"{name},{url},{name} : {number},{name} : {number // 2},{label}")
        box = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.5]}
        images.append({"file": file, "detections": [box]})
        save_jpeg(folder / "cct_images" / file, photograph(64, 48, seed=number))
    with zipfile.ZipFile(folder / "lila_image_urls_and_labels.csv.zip", "w") as archive:
        archive.writestr("lila_image_urls_and_labels.csv", "\n".join(table) + "\n")
    results = {
        "info": {"detector": "md_v5a.0.0.pt", "format_version": "1.3"},
        "detection_categories": {"1": "animal"},
        "images": images,
    }
    (folder / "caltech_mdv5a.json").write_text(json.dumps(results), encoding="utf-8")
    write_taxonomy(
        folder / "lila-taxonomy-mapping_release.csv",
        [
            label_row(f"caltech camera traps|{label}", f"species {name}")
            for label, name in SPECIES.items()
        ],
    )


def test_the_way_from_lila_leads_to_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lila_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/metadata.md").read_text(encoding="utf-8")
    way = tmp_path / "way.md"
    way.write_text(text.partition("\n## From LILA")[2], encoding="utf-8")
    [spec] = re.findall(r"```csv\n(.*?)```", way.read_text("utf-8"), re.DOTALL)
    (tmp_path / "label_spec.csv").write_text(spec, encoding="utf-8")
    for line in command_lines(way):
        name = find(_script(line))
        assert name is not None
        words = shlex.split(line.replace("/data/cct_images", "cct_images"))
        assert command(name).main(words[1:]) == 0, line
    splits = json.loads((tmp_path / "run/splits.json").read_bytes())
    assert all(len(splits[split]) >= 1 for split in ("train", "val", "test"))
    assert sum(map(len, splits.values())) == 4


def _evaluation(folder: Path) -> None:
    """Writes what evaluate_model leaves of two crops, one of a drawn box, one found."""
    crops = ["caltech/a.jpg___crop00.jpg", "caltech/b c.jpg___crop00_mdv4.1.jpg"]
    numbers = np.array([[0.8, 0.2], [0.3, 0.7]], np.float32)
    labels, weights = ["elk", "elk"], np.ones(2, np.float32)
    rows = predictions.Evaluated(crops, labels, weights, numbers)
    names = ("elk", "moose")
    label_index.write(folder / "run/label_index.json", names)
    results = folder / "run/20261122_204715/outputs_test.csv.gz"
    predictions.write_evaluated(results, names, [rows])
    drawn = (QueriedBox("animal", Box(0.1, 0.2, 0.3, 0.4)),)
    images = {
        "caltech/a.jpg": QueriedImage("caltech", "elk", ("elk",), boxes=drawn),
        "caltech/b c.jpg": QueriedImage("caltech", "elk", ("elk",)),
    }
    queried_images.write(folder / "run/queried_images.json", images)
    box = {"category": "1", "conf": 0.9, "bbox": [0.1, 0.1, 0.5, 0.5]}
    cached = {
        "info": {"detector": "megadetector_v4.1", "format_version": "1.0"},
        "detection_categories": {"1": "animal"},
        "images": [{"file": "b c.jpg", "detections": [box]}],
    }
    cache = folder / "mdcache/v4.1/caltech.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(json.dumps(cached), encoding="utf-8")


def _lists(folder: Path) -> None:
    """Writes the lists of images of the page's examples, and a broken image."""
    (folder / "candidates.txt").write_text("caltech/a.jpg\n", encoding="utf-8")
    entry = {"file": "caltech/a.jpg", "download_id": "one", "new_entry": True}
    (folder / "entries.json").write_text(json.dumps([entry]), encoding="utf-8")
    save_jpeg(folder / "images/caltech/a.jpg", photograph(64, 48))
    (folder / "images/caltech/broken.jpg").write_bytes(b"no image")
    log = {"images_failed_download_or_crop": ["caltech/broken.jpg", "caltech/a.jpg"]}
    path = folder / "crop_detections_log_20261122_204715.json"
    path.write_text(json.dumps(log), encoding="utf-8")


def test_the_ways_of_review_md_lead_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _evaluation(tmp_path)
    _lists(tmp_path)
    for number, name in enumerate(("a.jpg", "b c.jpg")):
        save_jpeg(tmp_path / "served/caltech" / name, photograph(64, 48, seed=number))
    text = (ROOT / "docs/review.md").read_text(encoding="utf-8")
    way = tmp_path / "way.md"
    sections = [f"\n## {title}\n" for title in ("Evaluation", "Fetching")]
    parts = [
        text.partition(head.rstrip())[2].partition("\n## ")[0] for head in sections
    ]
    way.write_text("".join(parts), encoding="utf-8")
    with serving_folder(tmp_path / "served") as web:
        entry = DatasetEntry(base_url=f"{web.url}/caltech/")
        dataset_list.write(tmp_path / "megadb", {"caltech": entry})
        for line in command_lines(way):
            name = find(_script(line))
            assert name is not None
            words = shlex.split(line.replace("https://example.org", web.url))
            assert command(name).main(words[1:]) == 0, line
    folder = tmp_path / "run/20261122_204715"
    merged = json.loads((folder / "outputs_test.json").read_bytes())
    first, second = (image["detections"][0] for image in merged["images"])
    assert first["classifications"] == [["0", 0.8], ["1", 0.2], ["1000000", 1.0]]
    assert merged["classification_categories"]["1000000"] == "label: elk"
    relative = folder / "outputs_json_test_set_relative_conf.json"
    _, second = (
        i["detections"][0] for i in json.loads(relative.read_bytes())["images"]
    )
    assert second["classifications"] == [["1", 0.4]]
    assert (tmp_path / "images/caltech/b c.jpg").exists()
    assert (tmp_path / "to_review/caltech/b c.jpg").exists()
    assert (tmp_path / "to_review/one.jpg").exists()
    status = {
        row.image: row.status for row in image_status.read(tmp_path / "failed.csv")
    }
    assert status == {
        "caltech/a.jpg": Status.GOOD,
        "caltech/broken.jpg": Status.BAD,
    }
