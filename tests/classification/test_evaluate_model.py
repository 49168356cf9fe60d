"""A classifier is measured from the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import torch

from classification import evaluate_model, export_model, run_classifier
from classification.artifacts import (
    confusion_matrices,
    evaluation,
    label_index,
    label_spec,
    label_stats,
    overall_metrics,
    predictions,
    run_params,
    target_mapping,
)
from classification.artifacts.run_params import RunParams
from classification.modeling import checkpoints, networks, trained
from classification.modeling.checkpoints import Checkpoint
from tests import classifiers
from tests.commands import ROOT
from tests.examples import Examples, write_examples
from tests.world import DEER_AND_BIRDS, write_taxonomy

if TYPE_CHECKING:
    from pathlib import Path

    from classification.artifacts.evaluation import SplitMetrics

LABELS = ("bird", "deer", "elk", "turkey")
TINY = "timm/test_efficientnet"  # 100,000 weights
SIDE = 32
Capture = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Desk:
    """A run folder, its data, and where results go."""

    folder: Path
    examples: Examples

    @property
    def params(self) -> Path:
        return self.folder / "log" / run_params.FILENAME

    @property
    def checkpoint(self) -> Path:
        return self.folder / "log/ckpt_4.pt"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def main(self, *words: object, model: Path | None = None) -> int:
        return evaluate_model.main(
            [
                str(self.params),
                str(model or self.checkpoint),
                "--output-dir",
                str(self.out),
                "--device",
                "cpu",
                "--bootstrap",
                "20",
                *map(str, words),
            ]
        )

    def overall(self) -> list[overall_metrics.SplitRow]:
        return list(overall_metrics.read(self.out / overall_metrics.FILENAME))

    def metrics(self, split: str) -> SplitMetrics:
        return evaluation.read(self.out / evaluation.FILENAME).splits[split]


def save_checkpoint(path: Path, seed: int) -> None:
    torch.manual_seed(seed)
    network = networks.build(TINY, len(LABELS), image_size=SIDE)
    state = classifiers.lively(network, SIDE).state_dict()
    path.parent.mkdir(exist_ok=True)
    checkpoints.write(path, Checkpoint(model=state, epoch=4, val_accuracy=50.0))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    examples = write_examples(tmp_path / "data", LABELS)
    desk = Desk(tmp_path, examples)
    save_checkpoint(desk.checkpoint, seed=1)
    told = RunParams(
        dataset_dir=str(examples.dataset_dir),
        cropped_images_dir=str(examples.crops_dir),
        model_name=TINY,
        image_size=SIDE,
        label_weighted=True,
    )
    run_params.write(desk.params, told)
    return desk


def test_a_checkpoint_is_measured_on_all_splits(desk: Desk) -> None:
    assert desk.main("--splits", "val", "train", "test") == 0
    assert [row.split for row in desk.overall()] == ["val", "train", "test"]
    matrices = confusion_matrices.read(desk.out / confusion_matrices.FILENAME)
    assert [int(matrix.sum()) for matrix in matrices.values()] == [12, 12, 12]
    stats = list(label_stats.read(desk.out / label_stats.FILENAME))
    assert [row.label for row in stats[:4]] == list(LABELS)
    for split in matrices:
        file = predictions.open_file(desk.out / f"outputs_{split}.csv.gz")
        assert file.columns == ("path", "label", "weight", *LABELS)
        assert sum(len(batch.paths) for batch in file.batches()) == 12
    assert not (desk.out / label_index.FILENAME).exists()
    assert trained.compiled_path(desk.checkpoint).exists()
    (log,) = desk.out.glob("evaluate_model_log_*.json")
    assert json.loads(log.read_text())["counts"] == {"crops": 36, "failed": 0}


def test_without_splits_it_only_compiles(desk: Desk) -> None:
    assert desk.main() == 0
    assert trained.compiled_path(desk.checkpoint).exists()
    assert not desk.out.exists()


def test_what_it_compiles_measures_the_same(desk: Desk) -> None:
    assert desk.main("--splits", "test") == 0
    first = desk.overall()
    compiled = trained.compiled_path(desk.checkpoint)
    assert desk.main("--splits", "test", model=compiled) == 0
    (row,) = desk.overall()
    assert row.loss == pytest.approx(first[0].loss, abs=1e-5)
    assert row.acc_top1 == first[0].acc_top1


def test_run_classifier_gives_what_was_measured(desk: Desk) -> None:
    assert desk.main("--splits", "test") == 0
    exported = desk.folder / "model.onnx"
    names = desk.examples.dataset_dir / label_index.FILENAME
    words = [str(desk.checkpoint), str(exported), "--label-index", str(names)]
    assert export_model.main(words) == 0
    classified = desk.folder / "classifier_output.csv.gz"
    crops = str(desk.examples.crops_dir)
    words = [str(exported), crops, str(classified), "--logdir", str(desk.folder)]
    assert run_classifier.main([*words, "--device", "cpu"]) == 0
    measured, found = (
        {
            path: row
            for batch in predictions.open_file(file).batches()
            for path, row in zip(batch.paths, batch.probabilities, strict=True)
        }
        for file in (desk.out / "outputs_test.csv.gz", classified)
    )
    assert measured.keys() < found.keys()
    for path, row in measured.items():
        np.testing.assert_allclose(found[path], row, atol=1e-6)


def test_d15_the_compiled_file_of_an_older_checkpoint_is_not_used(desk: Desk) -> None:
    assert desk.main("--splits", "test") == 0
    (old,) = desk.overall()
    save_checkpoint(desk.checkpoint, seed=2)
    assert desk.main("--splits", "test") == 0
    (new,) = desk.overall()
    assert new.loss != old.loss
    compiled = trained.compiled_path(desk.checkpoint)
    assert desk.main("--splits", "test", model=compiled) == 0
    (again,) = desk.overall()
    assert again.loss == pytest.approx(new.loss, abs=1e-5)


def test_running_again_gives_the_same_bytes(desk: Desk) -> None:
    written = []
    for _ in range(2):
        assert desk.main("--splits", "val", "test") == 0
        written.append(
            {
                path.name: path.read_bytes()
                for path in desk.out.iterdir()
                if "_log_" not in path.name
            }
        )
    assert written[0] == written[1]


def test_d63_the_data_may_have_moved(desk: Desk, capsys: Capture) -> None:
    moved = desk.folder / "moved"
    shutil.move(desk.examples.dataset_dir, moved)
    assert desk.main("--splits", "val") == 1
    assert "--dataset-dir says where it is now" in capsys.readouterr().err
    assert desk.main("--splits", "val", "--dataset-dir", moved) == 1
    assert "--cropped-images-dir says where it is now" in capsys.readouterr().err
    where = ("--dataset-dir", moved, "--cropped-images-dir", moved / "crops")
    assert desk.main("--splits", "val", *where) == 0


def test_d63_label_weighting_may_be_chosen_anew(desk: Desk) -> None:
    assert desk.main("--splits", "train") == 0
    (weighted,) = desk.overall()
    assert desk.main("--splits", "train", "--no-label-weighted") == 0
    (plain,) = desk.overall()
    assert plain.acc_weighted_top1 == plain.acc_top1 == weighted.acc_top1
    assert plain.loss_weighted == pytest.approx(plain.loss)
    assert weighted.loss_weighted != pytest.approx(weighted.loss)
    assert desk.main("--splits", "train", "--label-weighted") == 0
    assert desk.overall() == [weighted]


CATEGORIES = ("alces", "aves", "cervus", "felis")
MAPPING = {"bird": ["aves"], "elk": ["alces", "cervus"], "other": ["felis"]}


def save_foreign(desk: Desk) -> tuple[Path, list[object]]:
    """Writes a TorchScript classifier of other categories, and what maps them."""
    model = desk.folder / "v0.1_compiled.pt"
    network = classifiers.tiny_network(len(CATEGORIES))
    model.write_bytes(classifiers.traced_bytes(network, SIDE))
    names = desk.folder / "v0.1_index_to_name.json"
    label_index.write(names, CATEGORIES)
    mapping = desk.folder / target_mapping.FILENAME
    target_mapping.write(mapping, MAPPING)
    return model, ["--target-mapping", mapping, "--label-index", names]


def test_d28_a_foreign_classifier_is_measured_by_its_targets(
    desk: Desk,
) -> None:
    model, words = save_foreign(desk)
    assert desk.main("--splits", "test", *words, model=model) == 0
    written = desk.out / label_index.FILENAME
    assert label_index.read(written) == (*LABELS, "other")
    assert written.read_text().count("\n") == 1
    file = predictions.open_file(desk.out / "outputs_test.csv.gz")
    assert file.categories == (*LABELS, "other")
    rows = np.concatenate([batch.probabilities for batch in file.batches()])
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    assert (rows[:, [1, 3]] == 0).all()  # deer, turkey
    stats = {
        row.label: row for row in label_stats.read(desk.out / label_stats.FILENAME)
    }
    assert stats["deer"].recall == 0
    assert np.isnan(stats["other"].recall)


def test_d28_says_which_targets_nothing_stands_for(desk: Desk, capsys: Capture) -> None:
    model, words = save_foreign(desk)
    desk.main("--splits", "test", *words, model=model)
    told = capsys.readouterr().err
    assert "no category of the classifier stands for 'deer', 'turkey'" in told


def test_a_taxonomy_tells_how_near_wrong_labels_are(desk: Desk) -> None:
    taxonomy = write_taxonomy(desk.folder / "taxonomy.csv", DEER_AND_BIRDS)
    spec = desk.folder / "label_spec.json"
    document = {
        "bird": {"taxa": [{"level": "class", "name": "aves"}]},
        "deer": {"taxa": [{"level": "family", "name": "cervidae"}]},
        "elk": {"dataset_labels": {"idfg": ["elk"]}},
        "turkey": {"dataset_labels": {"caltech": ["turkey"]}},
    }
    label_spec.write(spec, label_spec.from_dict(document), indent=1)
    words = ("--taxonomy-csv", taxonomy, "--label-spec", spec)
    assert desk.main("--splits", "test", *words) == 0
    found = desk.metrics("test")
    assert found.hierarchy is not None
    matrix = confusion_matrices.read(desk.out / confusion_matrices.FILENAME)["test"]
    bird, deer, elk, turkey = range(4)
    higher = matrix[elk, deer] + matrix[turkey, bird]
    assert found.hierarchy.higher.value == pytest.approx(higher / matrix.sum())
    assert found.hierarchy.right.value == pytest.approx(np.trace(matrix) / matrix.sum())
    pairs = [
        (i, j) for i in range(4) for j in range(4) if (i in {1, 2}) == (j in {1, 2})
    ]
    classes = sum(matrix[pair] for pair in pairs)
    assert found.hierarchy.ranks["class"] == pytest.approx(classes / matrix.sum())


@pytest.mark.parametrize(
    "words",
    [
        ["--target-mapping", "x.json"],
        ["--label-index", "x.json"],
        ["--taxonomy-csv", "x.csv"],
        ["--label-spec", "x.json"],
        ["--splits", "dev"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(desk: Desk, words: list[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        desk.main(*words)
    assert ending.value.code == 2


def test_broken_crops_end_nothing_unless_wanted(desk: Desk) -> None:
    name = next(row.path for row in desk.examples.rows if "/val" in row.path)
    (desk.examples.crops_dir / name).write_bytes(b"no image")
    assert desk.main("--splits", "val", "--max-failures", "1") == 0
    assert desk.metrics("val").failed == 1
    (log,) = desk.out.glob("evaluate_model_log_*.json")
    assert [one["item"] for one in json.loads(log.read_text())["failures"]] == [name]
    assert desk.main("--splits", "val", "--max-failures", "0") == 4
    assert desk.metrics("val").crops == 11


def test_a_classifier_of_other_labels_is_refused_before_anything_is_written(
    desk: Desk, capsys: Capture
) -> None:
    model = classifiers.save_exported(desk.folder / "foreign.onnx")
    assert desk.main("--splits", "val", model=model) == 1
    assert "--target-mapping with --label-index" in capsys.readouterr().err
    assert not list(desk.out.glob("*.csv*"))


def test_an_exported_model_is_measured_without_torch(desk: Desk) -> None:
    model = classifiers.save_exported(desk.folder / "own.onnx", labels=LABELS)
    words = [desk.params, model, "-o", desk.out, "--splits", "val", "--device", "cpu"]
    program = (
        "import sys; from classification.evaluate_model import main; "
        f"code = main({[str(word) for word in words]}); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert desk.metrics("val").crops == 12


def test_a_label_that_a_split_lacks_is_said_and_ends_nothing(
    desk: Desk, capsys: Capture, tmp_path: Path
) -> None:
    fewer = write_examples(tmp_path / "fewer", LABELS, missing=[("val", "elk")])
    told = msgspec.structs.replace(
        run_params.read(desk.params),
        dataset_dir=str(fewer.dataset_dir),
        cropped_images_dir=str(fewer.crops_dir),
    )
    run_params.write(desk.params, told)
    assert desk.main("--splits", "val") == 0
    assert "val has no example of elk" in capsys.readouterr().err
    stats = {
        row.label: row for row in label_stats.read(desk.out / label_stats.FILENAME)
    }
    assert np.isnan(stats["elk"].recall)


def test_an_output_folder_that_cannot_be_is_said_at_once(
    desk: Desk, capsys: Capture
) -> None:
    desk.out.write_text("a file")
    with pytest.raises(SystemExit) as ended:
        desk.main("--splits", "val")
    assert ended.value.code == 1
    assert "is a file; a folder is needed" in capsys.readouterr().err
    assert not trained.compiled_path(desk.checkpoint).exists()
