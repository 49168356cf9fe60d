"""Training, from crops to a run folder: real tiny networks, killed and taken up."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from classification import (
    evaluate_model,
    export_model,
    report_results,
    train_classifier,
)
from classification.artifacts import (
    detector_calibration,
    label_index,
    overall_metrics,
    predictions,
    run_params,
)
from classification.artifacts.detector_calibration import DetectorCalibration
from classification.modeling import (
    checkpoints,
    distributed,
    known_crops,
    manifest,
    resuming,
)
from classification.runtime import parallel
from tests import training_world
from tests.commands import ROOT
from tests.world import save_jpeg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CPU = "--device cpu"
NETWORK = f"-m timm/test_resnet --image-size 32 --batch-size 8 --lr 0.02 --seed 1 --logdir logs {CPU}"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parallel, "cores", lambda: 1)  # tiny networks gain nothing
    training_world.make(tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def train(words: str) -> int:
    return train_classifier.main(["run", "crops", *NETWORK.split(), *words.split()])


def run_folder(base: Path) -> Path:
    [folder] = [path for path in (base / "logs").iterdir() if path.name[0] == "2"]
    return folder


def log_of(folder: Path) -> dict[str, Any]:
    path = max(
        folder.glob("train_classifier_log_*.json"), key=lambda p: p.stat().st_mtime_ns
    )
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def test_a_run_leaves_the_originals_files(base: Path) -> None:
    assert train("--epochs 2") == 0
    folder = run_folder(base)
    params = run_params.read(folder / "params.json")
    assert (params.epochs, params.lr, params.seed) == (2, 0.02, 1)
    assert (params.optimizer, params.precision) == ("sgd", "float32")
    assert {path.name for path in folder.iterdir()} >= {
        *("outputs_train.csv.gz", "outputs_val.csv.gz", "outputs_test.csv.gz"),
        *("overall_metrics.csv", "label_stats.csv", "confusion_matrices.npz"),
        *("metrics.json", "model_card.md", "resume.pt"),
    }
    [kept] = folder.glob("ckpt_*.pt")
    read = checkpoints.read(kept)
    assert read.labels == training_world.LABELS[:3]
    assert "padding" not in (folder / "model_card.md").read_text("utf-8")
    assert kept.name == f"ckpt_{log_of(folder)['best_epoch']}.pt"


def events_of(folder: Path) -> EventAccumulator:
    """Reads the event files of a folder with TensorBoard's own reader."""
    read = EventAccumulator(str(folder))
    read.Reload()
    return read


def test_evaluate_model_writes_what_training_wrote(base: Path) -> None:
    assert train("--epochs 1 --label-weighted") == 0
    folder = run_folder(base)
    [checkpoint] = folder.glob("ckpt_*.pt")
    words = [str(folder / "params.json"), str(checkpoint), "--output-dir", "again"]
    splits = ["--splits", "train", "val", "test", "--device", "cpu"]
    assert evaluate_model.main([*words, *splits]) == 0
    written = [p for p in (base / "again").iterdir() if "_log_" not in p.name]
    assert len(written) == 8
    for path in written:
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_a_run_is_shown_by_tensorboard(base: Path) -> None:
    assert train("--epochs 2 --label-weighted") == 0
    folder = run_folder(base)
    read = events_of(folder)
    tags = read.Tags()
    labels = training_world.LABELS[:3]
    assert {f"pr_curve/val/{label}" for label in labels} <= set(tags["tensors"])
    assert {"confusion_matrix/train", "confusion_matrix/val"} <= set(tags["images"])
    assert {"lr", "images_per_second", "val/label_recall/deer"} <= set(tags["scalars"])
    assert [event.value for event in read.Scalars("lr")] == pytest.approx([0.02] * 2)
    assert all(event.value > 0 for event in read.Scalars("images_per_second"))

    [beside] = [path.parent for path in folder.glob("*/events.out.*")]
    hparams = events_of(beside)
    [best] = hparams.Scalars("hparam/epoch")
    assert best.value == log_of(folder)["best_epoch"]
    [recall] = hparams.Scalars("hparam/val/label_recall/deer")
    of_epochs = read.Scalars("val/label_recall/deer")
    assert recall.value == of_epochs[int(best.value)].value


def test_d24_without_label_weights_it_ends_with_an_evaluation(base: Path) -> None:
    assert train("--epochs 1") == 0
    rows = list(overall_metrics.read(run_folder(base) / overall_metrics.FILENAME))
    assert [row.split for row in rows] == ["train", "val", "test"]
    assert all(row.acc_top1 == row.acc_weighted_top1 for row in rows)


def test_d25_no_epoch_is_an_evaluation(base: Path) -> None:
    assert train("--epochs 0") == 0
    folder = run_folder(base)
    assert (folder / overall_metrics.FILENAME).exists()
    assert not list(folder.glob("ckpt_*"))
    assert "not trained" in (folder / "model_card.md").read_text("utf-8")


@pytest.mark.parametrize("count", [1, 2])
def test_d25_fewer_than_three_labels(base: Path, count: int) -> None:
    training_world.make(base, labels=training_world.LABELS[:count])
    assert train("--epochs 1 --label-weighted") == 0
    for row in overall_metrics.read(run_folder(base) / overall_metrics.FILENAME):
        assert row.acc_top3 == 100


def test_d25_a_label_that_a_split_lacks_is_said(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = training_world.make(base)
    rows = [row for row in rows if (row.location, row.label) != ("2", "bear")]
    training_world.write_set(base, rows, training_world.LABELS)
    assert train("--epochs 1 --label-weighted") == 0
    assert "val has no example of bear, fox" in capsys.readouterr().err
    notes = log_of(run_folder(base))["notes"]
    assert any("train has no example of fox" in note["reason"] for note in notes)


def test_d25_finetune_is_a_flag_too(base: Path) -> None:
    assert train("--epochs 2 --finetune --cache-features") == 0
    params = run_params.read(run_folder(base) / "params.json")
    assert (params.finetune, params.cache_features) == (2, True)


def test_d25_unreadable_crops_are_listed(base: Path) -> None:
    rows = training_world.make(base)
    broken = [row.path for row in rows if row.path.endswith("bear0.jpg___crop00.jpg")]
    for path in broken:
        (base / "crops" / path).write_bytes(b"no picture")
    assert train("--epochs 2 --max-failures 4") == 0
    log = log_of(run_folder(base))
    assert [failure["item"] for failure in log["failures"]] == sorted(broken)
    shutil.rmtree(base / "logs")
    assert train("--epochs 2 --max-failures 3") == 4


def test_d25_confidences_outside_of_a_calibration_are_said(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        row._replace(
            path=row.path.replace("___crop00", "___crop00_mdv4.1"),
            confidence=0.1 + index / 100,
        )
        for index, row in enumerate(training_world.make(base))
    ]
    for row in rows:
        plain = base / "crops" / row.path.replace("_mdv4.1", "")
        plain.rename(base / "crops" / row.path)
    training_world.write_set(base, rows, training_world.LABELS[:3])
    points = np.array([0.2, 0.3]), np.array([0.1, 0.9])
    detector_calibration.write(base / "c.npz", DetectorCalibration(*points))
    assert train("--epochs 1 --weight-by-detection-conf c.npz") == 0
    assert "are outside of the calibration's 0.2 to 0.3" in capsys.readouterr().err
    assert train("--epochs 1 --weight-by-detection-conf --label-weighted") == 0


def test_d63_folders_that_were_moved_are_told_anew(base: Path) -> None:
    assert train("--epochs 1") == 0
    folder = run_folder(base)
    (folder / resuming.FILENAME).unlink()
    (base / "run").rename(base / "moved")
    (base / "crops").rename(base / "pictures")
    words = ["moved", "pictures", "--resume", str(folder), *CPU.split()]
    assert train_classifier.main(words) == 0
    assert train_classifier.main(words) == 0  # nothing is left to do
    hashes = {
        json.loads(path.read_bytes())["weights_sha256"]
        for path in folder.glob("train_classifier_log_*.json")
    }
    assert len(hashes) == 1


def test_a_run_killed_while_it_was_measured_needs_no_pretrained_weights(
    base: Path,
) -> None:
    assert train("--epochs 1") == 0
    [checkpoint] = run_folder(base).glob("ckpt_*.pt")
    start_from = checkpoint.rename(base / "start.pt")
    shutil.rmtree(base / "logs")
    assert train("--epochs 1 --pretrained start.pt") == 0
    folder = run_folder(base)
    saved = resuming.read(folder)
    assert saved is not None
    resuming.write(folder, dataclasses.replace(saved, is_finished=False))
    outputs = folder / "outputs_test.csv.gz"
    before = outputs.read_bytes()
    outputs.unlink()
    start_from.unlink()
    assert train_classifier.main(["--resume", str(folder), *CPU.split()]) == 0
    assert outputs.read_bytes() == before
    assert resuming.read(folder).is_finished  # type: ignore[union-attr]


def test_d64_a_label_that_no_output_can_name_is_refused_before_training(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = [*training_world.LABELS[:2], "weight"]
    rows = [
        row._replace(label="weight") if row.label == "empty" else row
        for row in training_world.make(base)
    ]
    training_world.write_set(base, rows, labels)
    assert train("--epochs 1") == 1
    assert "label_index.json: 2: the label 'weight'" in capsys.readouterr().err
    assert not (base / "logs").exists()


def test_it_goes_on_with_the_same_data_alone(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--epochs 1") == 0
    folder = run_folder(base)
    (folder / resuming.FILENAME).unlink()
    training_world.make(base, per_location=3)
    assert train_classifier.main(["--resume", str(folder), *CPU.split()]) == 1
    assert (
        "classification_ds.csv changed since the training run began"
        in capsys.readouterr().err
    )


def interrupt_training(base: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ends a run in the middle; returns its folder."""
    write = resuming.write

    def interrupted(folder: Path, saved: resuming.Saved) -> None:
        write(folder, saved)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(resuming, "write", interrupted)
        assert train(f"{words} --save-steps 2") == 130
    return run_folder(base)


CROP = "d/0/bear0.jpg___crop00.jpg"


def replace_in_place(path: Path, data: bytes) -> None:
    """Gives a file other bytes, and the time that it had."""
    then = path.stat().st_mtime_ns
    path.write_bytes(data)
    os.utime(path, ns=(then, then))


def other_picture(base: Path) -> None:
    save_jpeg(base / "crops" / CROP, training_world.crop("fox", 7))


def another_bit(base: Path) -> None:
    """Changes a pixel and neither the crop's size nor its time."""
    data = bytearray((base / "crops" / CROP).read_bytes())
    data[-20] ^= 1
    replace_in_place(base / "crops" / CROP, bytes(data))


def another_label(base: Path) -> None:
    path = base / "run/classification_ds.csv"
    replace_in_place(path, path.read_bytes().replace(b"bear\n", b"deer\n", 1))


def another_order(base: Path) -> None:
    labels = [*training_world.LABELS[1:3], training_world.LABELS[0]]
    label_index.write(base / "run/label_index.json", labels)


def another_split(base: Path) -> None:
    path = base / "run/splits.json"
    text = path.read_text("utf-8")
    path.write_text(text.replace('"2"', '"x"').replace('"3"', '"2"').replace("x", "3"))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            other_picture,
            f"1 of 48 crops changed since the training run began, .* {CROP}",
        ),
        (
            lambda base: (base / "crops" / CROP).unlink(),
            f"1 of 48 crops changed since the training run began, .* {CROP}",
        ),
        (another_bit, f"{CROP}: changed since the training run began"),
        (another_label, "classification_ds.csv changed since the training run began"),
        (another_order, "label_index.json changed since the training run began"),
        (another_split, "splits.json changed since the training run began"),
    ],
)
def test_what_changed_since_a_run_began_is_refused(
    base: Path,
    change: Callable[[Path], object],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # All crops are in train of one fold, and in test of the other.
    folds = "--folds 2" if change is other_picture else ""
    folder = interrupt_training(base, f"--epochs 3 {folds}", monkeypatch)
    capsys.readouterr()
    change(base)
    assert train_classifier.main(["--resume", str(folder), *CPU.split()]) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert re.search(f"{what}.*; put back what it was, or begin a new run$", line)


def test_a_finished_run_whose_crops_changed_says_so(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--epochs 1") == 0
    words = ["--resume", str(run_folder(base)), *CPU.split()]
    assert train_classifier.main(words) == 0
    other_picture(base)
    assert train_classifier.main(words) == 1
    assert "1 of 48 crops changed" in capsys.readouterr().err


def test_a_set_that_changed_since_is_said_by_who_measures_and_shows(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--epochs 1") == 0
    folder = run_folder(base)
    [checkpoint] = folder.glob("ckpt_*.pt")
    words = [str(folder / "params.json"), str(checkpoint), "-o", str(folder)]
    for change, is_said in ((lambda _: None, False), (another_split, True)):
        change(base)
        capsys.readouterr()
        splits = ["--splits", "test", *CPU.split()]
        assert evaluate_model.main([*words, *splits]) == 0
        assert report_results.main([str(folder)]) == 0
        said = capsys.readouterr().err
        assert ("run: splits.json changed since the network was" in said) is is_said
        assert ("splits.json in run changed since the network" in said) is is_said


def test_copied_crops_are_the_same_crops(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their times are new, so that their bytes are compared."""
    folder = interrupt_training(base, "--epochs 1", monkeypatch)
    shutil.copytree(base / "crops", base / "copied", copy_function=shutil.copy)
    words = ["run", "copied", "--resume", str(folder), *CPU.split()]
    assert train_classifier.main(words) == 0


@pytest.mark.parametrize("flag", ["--pretrained", "--weight-by-detection-conf"])
def test_a_run_is_not_gone_on_with_after_weights_changed(
    base: Path,
    flag: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert train("--epochs 1 --logdir before") == 0
    [start_from] = (base / "before").glob("2*/ckpt_*.pt")
    if flag == "--weight-by-detection-conf":
        start_from = base / "calibration.npz"
        curve = DetectorCalibration(np.array([0.1, 0.9]), np.array([0.2, 0.8]))
        detector_calibration.write(start_from, curve)
    folder = interrupt_training(base, f"--epochs 2 {flag} {start_from}", monkeypatch)
    start_from.write_bytes(start_from.read_bytes() + b"\0")
    assert train_classifier.main(["--resume", str(folder), *CPU.split()]) == 1
    expected = f"error: {start_from} changed since the training run began"
    assert expected in capsys.readouterr().err


def test_crops_that_change_while_a_run_is_at_work_end_it(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = resuming.write

    def changing(folder: Path, saved: resuming.Saved) -> None:
        write(folder, saved)
        other_picture(base)

    monkeypatch.setattr(resuming, "write", changing)
    assert train("--epochs 3 --no-crop-cache") == 1
    assert f"{CROP}: changed since the training run began" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_goes_on_and_says_what_it_cannot_know(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = interrupt_training(base, "--epochs 1", monkeypatch)
    (folder / known_crops.FILENAME).unlink()
    assert train_classifier.main(["--resume", str(folder), *CPU.split()]) == 0
    assert "nobody knows whether crops changed" in capsys.readouterr().err


def test_a_checkpoint_of_other_labels_gives_its_body(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--epochs 1") == 0
    [checkpoint] = run_folder(base).glob("ckpt_*.pt")
    training_world.make(base, labels=training_world.LABELS)
    assert train(f"--epochs 1 --pretrained {checkpoint} --padding tf") == 0
    assert (
        "its body is loaded; the last layer is new, for 4 labels"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision(base: Path, precision: str) -> None:
    assert train(f"--epochs 1 --precision {precision} --no-crop-cache") == 0
    folder = run_folder(base)
    assert run_params.read(folder / "params.json").precision == precision
    saved = resuming.read(folder)
    assert saved is not None
    assert bool(saved.scaler) == (precision == "float16")


@pytest.mark.slow
def test_symmetric_padding_goes_with_the_network(base: Path) -> None:
    told = "-m efficientnet-b0 --padding symmetric --epochs 1"
    assert train(told) == 0
    folder = run_folder(base)
    assert run_params.read(folder / "params.json").padding == "symmetric"
    [checkpoint] = folder.glob("ckpt_*.pt")
    assert checkpoints.read(checkpoint).padding == "symmetric"
    assert "padding `symmetric`" in (folder / "model_card.md").read_text("utf-8")
    assert export_model.main([str(checkpoint), "symmetric.onnx"]) == 0
    described = manifest.read(base / "symmetric.manifest.json")
    assert (described.architecture, described.padding) == (
        "efficientnet-b0",
        "symmetric",
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run crops --multilabel", "one label per crop"),
        ("run", "CROPPED_IMAGES_DIR are required"),
        (
            "run crops --cache-features",
            "--cache-features is for epochs with --finetune",
        ),
        ("run crops --finetune-lr 1", "--finetune-lr is for epochs with --finetune"),
        ("run crops --label-smoothing 1", "1 leaves nothing of the truth"),
        ("--resume logs --epochs 3 --seed 4", "--seed, --epochs: the run's own params"),
        ("run crops --folds 3", "--folds needs --epochs"),
        ("run crops --folds 1", "one fold would leave nothing to learn from"),
        ("run crops --lr 0", "0 is not above 0"),
        ("run crops --lr nan", "nan is not a number from 0 on"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        train_classifier.main(words.split())
    assert ending.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run nowhere", "nowhere: no such folder; detect_and_crop"),
        ("nowhere crops", "nowhere/label_index.json"),
        ("--resume nowhere", "nowhere/params.json: missing; --resume names the folder"),
        ("run crops -m resnet19", "no architecture 'resnet19'"),
        ("run crops --pretrained nowhere.pt", "nowhere.pt: cannot read"),
        ("run crops --weight-by-detection-conf nowhere.npz", "nowhere.npz"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    base: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train_classifier.main(words.split()) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert not [path for path in base.iterdir() if path.name.startswith("2")]


# As `base` has it in this process: sums depend on the number of threads.
ON_ONE_CORE = """
import sys
from classification.runtime import parallel
parallel.cores = lambda: 1
from classification.train_classifier import main
sys.exit(main())
"""


def start(
    words: Sequence[str], base: Path, *, processes: int = 1
) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-c", ON_ONE_CORE]
    if processes > 1:
        launcher = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc-per-node={processes}", "-m", "classification.train_classifier"),
        ]
    return subprocess.Popen(
        [*launcher, *words],
        cwd=base,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        text=True,
        stderr=subprocess.PIPE,
    )


PATIENCE_S = 900  # a busy machine takes minutes for what takes seconds


def finish(process: subprocess.Popen[str]) -> None:
    try:
        _, errors = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        end(process)
        raise
    assert process.returncode == 0, errors


def complete(words: Sequence[str], base: Path, *, processes: int) -> None:
    """Trains to the end; where one process does it, in this one."""
    if processes > 1:
        finish(start(words, base, processes=processes))
    else:
        assert train_classifier.main(words) == 0


def family(pid: int) -> list[int]:
    """Returns a process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [pid, *(one for child in children.split() for one in family(int(child)))]


def end(process: subprocess.Popen[str]) -> None:
    """Ends all processes of a run at once."""
    for pid in family(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.communicate()


def kill_in_epoch(process: subprocess.Popen[str], logs: Path, *, epoch: int) -> None:
    """Ends all processes of a run at once, in the middle of an epoch."""
    last = time.monotonic() + PATIENCE_S
    seen = 0
    while time.monotonic() < last:
        time.sleep(0.02)
        assert process.poll() is None, process.communicate()[1]
        for path in logs.glob("2*/resume.pt"):
            if seen == (seen := path.stat().st_mtime_ns):
                continue
            saved = resuming.read(path.parent)
            if saved is not None and saved.epoch >= epoch and saved.step:
                end(process)
                return
    end(process)
    pytest.fail("never came so far")


@pytest.mark.slow
def test_two_processes_learn_what_one_does(base: Path) -> None:
    """Means of batch normalisation are each process's own, so they are kept here."""
    words = "--epochs 2 --augmentation none --freeze-batch-norm"
    assert train(words) == 0
    alone = run_folder(base).rename(base / "alone")
    line = ["run", "crops", *NETWORK.split(), *words.split()]
    finish(start(line, base, processes=2))
    together = run_folder(base)
    name = f"ckpt_{log_of(alone)['best_epoch']}.pt"
    one, other = (checkpoints.read(folder / name) for folder in (alone, together))
    for key, values in one.model.items():
        assert torch.allclose(values, other.model[key], rtol=1e-4, atol=1e-6), key
    assert run_params.read(together / "params.json").processes == 2
    counts = [log_of(folder)["counts"]["steps"] for folder in (alone, together)]
    assert counts == [6, 6]


@pytest.fixture
def one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a command believe that it is one of two processes."""

    @contextmanager
    def joined(device: str) -> Iterator[distributed.Group]:
        yield distributed.Group(world=2, device=device)

    monkeypatch.setattr(distributed, "joined", joined)


@pytest.mark.usefixtures("one_of_two")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--batch-size 7", "--batch-size 7 cannot be shared by 2 processes"),
        ("--finetune --cache-features", "--cache-features is for one process"),
    ],
)
def test_what_two_processes_cannot_do_is_refused(
    base: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(f"--epochs 1 {words}") == 1
    assert said in capsys.readouterr().err
    assert not (base / "logs").exists()


def test_another_number_of_processes_is_said(
    base: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    assert train("--epochs 1") == 0
    request.getfixturevalue("one_of_two")
    assert train_classifier.main(["--resume", str(run_folder(base))]) == 0
    said = "the run began with 1 processes and goes on with 2: it will not end with"
    assert said in capsys.readouterr().err


KILLED = (
    "--epochs 4 --save-steps 1 --num-workers 2 --label-weighted --lr-schedule cosine "
    "--average-weights"
)


ON_GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
)


@pytest.mark.parametrize(
    ("processes", "device"),
    [
        (1, "cpu"),
        pytest.param(2, "cpu", marks=pytest.mark.slow),
        pytest.param(1, "cuda:0", marks=ON_GPU),
    ],
)
def test_a_killed_run_ends_with_the_same_weights(
    base: Path, processes: int, device: str
) -> None:
    training_world.make(base, per_location=8)
    where = ["--device", device]
    words = ["run", "crops", *NETWORK.split(), *KILLED.split(), *where]
    undisturbed = [w if w != "logs" else "whole" for w in words]
    complete(undisturbed, base, processes=processes)
    [whole] = (base / "whole").glob("2*")

    killed = start(words, base, processes=processes)
    kill_in_epoch(killed, base / "logs", epoch=1)
    folder = run_folder(base)
    before = resuming.read(folder)
    assert before is not None
    assert not before.is_trained
    complete(["--resume", str(folder), *where], base, processes=processes)

    one, other = log_of(whole), log_of(folder)
    assert one["weights_sha256"] == other["weights_sha256"] != ""
    assert one["best_epoch"] == other["best_epoch"]
    assert one["counts"]["steps"] == other["counts"]["steps"]
    # Of the killed run at most the step after the last one noted was lost.
    assert (
        before.steps_trained + other["counts"]["steps_of_this_run"]
        == one["counts"]["steps"]
    )
    name = f"ckpt_{one['best_epoch']}.pt"
    of_whole, of_killed = (checkpoints.read(f / name) for f in (whole, folder))
    assert checkpoints.fingerprint(of_whole.model) == checkpoints.fingerprint(
        of_killed.model
    )
    assert resuming.read(folder).is_finished  # type: ignore[union-attr]


def outputs(folder: Path, name: str) -> list[tuple[str, str, list[float]]]:
    """Returns path, label and probabilities of each crop."""
    file = predictions.open_file(folder / name)
    return [
        row
        for batch in file.batches()
        for row in zip(
            batch.paths, batch.labels or [], batch.probabilities.tolist(), strict=True
        )
    ]


def test_folds_judge_every_crop_by_a_network_that_never_saw_its_location(
    base: Path,
) -> None:
    rows = training_world.make(base)
    (base / "run/splits.json").unlink()  # no crop's split matters
    assert train("--epochs 2 --folds 3 --label-weighted") == 0
    folder = run_folder(base)
    found = outputs(folder, "outputs_folds.csv.gz")
    assert [(path, label) for path, label, _ in found] == [
        (row.path, row.label) for row in rows
    ]
    location_by_path = {row.path: row.location for row in rows}
    seen: list[str] = []
    for fold in sorted(folder.glob("fold_*")):
        tested = outputs(fold, "outputs_test.csv.gz")
        assert all(row in found for row in tested)
        seen += sorted({location_by_path[path] for path, _, _ in tested})
    assert sorted(seen) == ["0", "1", "2", "3"]
    assert not [p for p in folder.iterdir() if "cache" in p.name]
    assert log_of(folder)["counts"] == {"crops": 48, "failed": 0}
    assert run_params.read(folder / "params.json").folds == 3


def test_folds_list_crops_that_cannot_be_read(base: Path) -> None:
    rows = training_world.make(base)
    (base / "crops" / rows[5].path).write_bytes(b"no picture")
    assert train("--epochs 1 --folds 2 --max-failures 0") == 4
    folder = run_folder(base)
    assert len(outputs(folder, "outputs_folds.csv.gz")) == 47
    [failure] = log_of(folder)["failures"]
    assert failure == {"item": rows[5].path, "reason": "not an image file"}


def test_folds_name_a_label_that_one_location_alone_has(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = training_world.make(base)
    rows = [row for row in rows if row.label != "bear" or row.location == "2"]
    training_world.write_set(base, rows, training_world.LABELS[:3])
    assert train("--epochs 1 --folds 2") == 0
    assert "all crops of bear that others could learn from" in capsys.readouterr().err


def test_more_folds_than_locations_are_refused(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--epochs 1 --folds 5") == 1
    assert not (base / "logs").exists()
    assert (
        "error: 5 folds need crops at 5 locations or more; there are 4"
        in capsys.readouterr().err
    )


def test_interrupted_folds_go_on_where_they_were(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "--epochs 2 --folds 3 --save-steps 1 --logdir"
    assert train(f"{words} whole") == 0
    write = resuming.write

    def interrupted(folder: Path, saved: resuming.Saved) -> None:
        write(folder, saved)
        if folder.name == "fold_2" and (saved.epoch, saved.step) == (1, 2):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(resuming, "write", interrupted)
        assert train(f"{words} logs") == 130
    folder = run_folder(base)
    first = (folder / "fold_1/resume.pt").stat().st_mtime_ns
    assert not (folder / "fold_3").exists()
    assert train_classifier.main(["--resume", str(folder)]) == 0
    assert (folder / "fold_1/resume.pt").stat().st_mtime_ns == first
    [whole] = (base / "whole").glob("2*")
    name = "outputs_folds.csv.gz"
    assert (folder / name).read_bytes() == (whole / name).read_bytes()
