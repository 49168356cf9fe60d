"""Tells what a PyTorch file is without unpickling anything of it.

A checkpoint is a zip archive around a pickle. The pickle names the classes of what is in
it before it makes them; reading its operation codes gives these names and runs nothing.
"""

from __future__ import annotations

import pickletools
import zipfile
import zlib
from enum import Enum
from typing import TYPE_CHECKING

from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAX_PICKLE_BYTES = 64 << 20  # the weights are beside the pickle, not in it
_MEMO_STRINGS = 2  # STACK_GLOBAL takes module and name from the stack
_DAMAGE = (
    ValueError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # a way of compressing that zipfile does not know
    RuntimeError,  # an encrypted member
)
_YOLOV9_MARKS = ("RepNCSPELAN4", "CBLinear", "DualDDetect", "SPPELAN")


class Kind(Enum):
    """What a PyTorch file holds; the value is how to say it."""

    YOLOV5 = "a YOLOv5 checkpoint"
    YOLOV9 = "a YOLOv9 checkpoint"
    ULTRALYTICS = "an ultralytics checkpoint"
    TORCHSCRIPT = "a TorchScript archive"
    TENSORS = "a checkpoint of plain tensors"
    OTHER = "a pickle of something else"


def kind_of(path: Path) -> Kind:
    """Says what a ``.pt`` or ``.pth`` file holds.

    Raises:
        ModelError: it cannot be read, or is no file of torch.save.
    """
    names = _names(path)
    if names is None:
        return Kind.TORCHSCRIPT
    modules = {name.partition(" ")[0] for name in names}
    if any(module.partition(".")[0] == "ultralytics" for module in modules):
        return Kind.ULTRALYTICS
    if modules & {"models.yolo", "yolov5.models.yolo"}:
        is_nine = any(name.rpartition(" ")[2] in _YOLOV9_MARKS for name in names)
        return Kind.YOLOV9 if is_nine else Kind.YOLOV5
    if modules <= {"torch", "torch._utils", "collections"}:
        return Kind.TENSORS
    return Kind.OTHER


def _names(path: Path) -> frozenset[str] | None:
    """Returns ``module name`` of all that the pickle names; None for TorchScript."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            if any(member.endswith("/constants.pkl") for member in members):
                return None
            (main,) = (m for m in members if m.endswith("data.pkl"))
            if archive.getinfo(main).file_size > _MAX_PICKLE_BYTES:
                raise ModelError(f"{path}: its pickle is too large to be looked into")
            return frozenset(_globals(archive.read(main)))
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except _DAMAGE as error:
        raise ModelError(
            f"{path}: not a file of torch.save (damaged, or older than torch 1.6)"
        ) from error


def _globals(pickle: bytes) -> Iterator[str]:
    """Yields ``module name`` for each global of a pickle.

    Raises:
        ValueError: it is no pickle.
    """
    strings: list[str] = []
    for code, argument, _ in pickletools.genops(pickle):
        if code.name in {"GLOBAL", "INST"}:
            yield str(argument)
        elif code.name == "STACK_GLOBAL" and len(strings) >= _MEMO_STRINGS:
            yield f"{strings[-2]} {strings[-1]}"
        elif isinstance(argument, str):
            strings.append(argument)
