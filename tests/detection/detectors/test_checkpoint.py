from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
import torch

from classification.runtime.errors import ModelError
from detection.detectors.checkpoint import Kind, kind_of

if TYPE_CHECKING:
    from pathlib import Path


def archive(path: Path, pickle: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle)
    return path


def names(*pairs: tuple[str, str]) -> bytes:
    """A pickle (protocol 2) that names classes and makes nothing of them."""
    return b"\x80\x02" + b"".join(f"c{m}\n{n}\n".encode() for m, n in pairs) + b"."


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ([("models.yolo", "Model"), ("models.common", "Conv")], Kind.YOLOV5),
        ([("yolov5.models.yolo", "DetectionModel")], Kind.YOLOV5),
        (
            [("models.yolo", "DetectionModel"), ("models.common", "RepNCSPELAN4")],
            Kind.YOLOV9,
        ),
        (
            [("ultralytics.nn.tasks", "DetectionModel"), ("models.yolo", "x")],
            Kind.ULTRALYTICS,
        ),
        ([("collections", "OrderedDict"), ("torch", "FloatStorage")], Kind.TENSORS),
        ([("os", "system")], Kind.OTHER),
    ],
)
def test_the_classes_tell_the_kind(
    tmp_path: Path, pairs: list[tuple[str, str]], kind: Kind
) -> None:
    assert kind_of(archive(tmp_path / "m.pt", names(*pairs))) is kind


def test_names_of_newer_pickles_come_from_the_stack(tmp_path: Path) -> None:
    pickle = b"\x80\x04\x8c\x0bmodels.yolo\x94\x8c\x05Model\x94\x93\x94."
    assert kind_of(archive(tmp_path / "m.pt", pickle)) is Kind.YOLOV5


def test_a_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    torch.save({"model": {"w": torch.zeros(3)}, "epoch": 1}, path)
    assert kind_of(path) is Kind.TENSORS


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_torchscript_archive(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), path)
    assert kind_of(path) is Kind.TORCHSCRIPT


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


def test_d45_looking_runs_no_code(tmp_path: Path) -> None:
    path, written = tmp_path / "m.pt", tmp_path / "written"
    torch.save(Trap(written), path)
    assert kind_of(path) is Kind.OTHER
    assert not written.exists()


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", b"PK\x03\x04 torn", b"\x80\x02cos\nsystem\n."]
)
def test_no_archive(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(data)
    assert refusal(path) == (
        f"{path}: not a file of torch.save (damaged, or older than torch 1.6)"
    )


@pytest.mark.parametrize("pickle", [b"", b"\x80\x02cos\nsys", b"\xff\xff"])
def test_an_archive_with_a_broken_pickle(tmp_path: Path, pickle: bytes) -> None:
    path = archive(tmp_path / "m.pt", pickle)
    assert refusal(path) == (
        f"{path}: not a file of torch.save (damaged, or older than torch 1.6)"
    )


def test_an_archive_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    assert "not a file of torch.save" in refusal(path)


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"model": {"w": torch.zeros(3000)}}, path)
    path.write_bytes(path.read_bytes()[:5000])
    assert "not a file of torch.save" in refusal(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    assert refusal(path) == f"cannot read {path}: No such file or directory"


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as error:
        kind_of(path)
    return str(error.value)
