"""Files of torch, read without torch: the same values, and nothing but values."""

from __future__ import annotations

import io
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classification.model_files import torch_files
from classification.model_files.pickles import DamagedFileError, NotDataError, Record
from classification.runtime.errors import ModelError
from tests import classifiers
from tests import hostile_archives as hostile


def written(document: object, **options: Any) -> io.BytesIO:  # noqa: ANN401 - of torch.save
    buffer = io.BytesIO()
    torch.save(document, buffer, **options)
    return buffer


LAYOUTS: list[dict[str, Any]] = [
    {},
    {"_use_new_zipfile_serialization": False},
    {"pickle_protocol": 3},
    {"pickle_protocol": 4},
]


def trained() -> dict[str, object]:
    """A checkpoint with all that one holds, after a step of its optimiser."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.rand(2, 3, 9, 9)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "model": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "val/acc": 61.25,
        "labels": ["fox", "bär"],
        "nothing": None,
        "flags": (True, False),
    }


def assert_equal(found: Any, expected: Any) -> None:  # noqa: ANN401 - of any type
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_equal(found[key], value)
    elif isinstance(expected, list | tuple):
        assert type(found) is type(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    elif isinstance(expected, torch.Tensor):
        assert found.dtype == expected.detach().numpy().dtype
        np.testing.assert_array_equal(found, expected.detach().numpy())
    else:
        assert found == expected


@pytest.mark.parametrize("options", LAYOUTS)
def test_a_checkpoint_is_what_was_saved(options: dict[str, Any]) -> None:
    document = trained()
    assert_equal(torch_files.read(written(document, **options)), document)


@pytest.mark.parametrize("options", LAYOUTS)
@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.int64, torch.int32),
        *(torch.int16, torch.int8, torch.uint8, torch.bool),
    ],
)
def test_every_type_of_number(dtype: torch.dtype, options: dict[str, Any]) -> None:
    tensor = torch.tensor([0, 1, 7, 100]).to(dtype)
    assert_equal(torch_files.read(written([tensor], **options)), [tensor])


def test_bfloat16_comes_as_float32() -> None:
    tensor = torch.tensor([1.0, -3.140625, 1e30], dtype=torch.bfloat16)
    (found,) = torch_files.read(written([tensor]))  # type: ignore[misc]
    assert_equal(found, tensor.float())


@pytest.mark.parametrize("options", LAYOUTS)
def test_views_keep_their_place_and_their_sharing(options: dict[str, Any]) -> None:
    whole = torch.arange(24.0).reshape(2, 3, 4)
    views = [whole, whole[1], whole.permute(2, 0, 1), whole[:, 1, ::2], whole[0, 0, 0]]
    found: Any = torch_files.read(written(views, **options))
    assert_equal(found, views)
    found[0][1, 0, 0] = 99
    assert found[1][0, 0] == 99


def test_empty_tensors_and_parameters() -> None:
    values = [torch.zeros(0, 3), torch.zeros(()), torch.nn.Parameter(torch.ones(2))]
    assert_equal(torch_files.read(written(values)), values)


def test_other_values_that_checkpoints_hold() -> None:
    document = {
        "accuracy": np.float64(0.5),
        "count": np.int64(7),
        "size": torch.Size([3, 4]),
        "device": torch.device("cuda:1"),
        "dtype": torch.bfloat16,
        "names": {"b", "a"},
    }
    assert torch_files.read(written(document)) == {
        "accuracy": 0.5,
        "count": 7,
        "size": (3, 4),
        "device": "cuda:1",
        "dtype": "torch.bfloat16",
        "names": {"a", "b"},
    }


def test_the_devices_of_others() -> None:
    for device in ("cuda:3", "mps", "xpu:0"):
        value = hostile.tensor(hostile.storage(device=device))
        found: Any = torch_files.read(io.BytesIO(hostile.checkpoint(value)))
        np.testing.assert_array_equal(found, np.eye(3, dtype=np.float32))


def test_numbers_of_a_machine_of_the_other_order() -> None:
    numbers = np.eye(3, dtype=">f4").tobytes()
    data = hostile.checkpoint(extra={"data/0": numbers, "byteorder": b"big"})
    found: Any = torch_files.read(io.BytesIO(data))
    np.testing.assert_array_equal(found["model"]["w"], np.eye(3))


def test_tensors_are_made_by_the_caller() -> None:
    found: Any = torch_files.read(written([torch.ones(2)]), torch.from_numpy)
    assert torch.equal(found[0], torch.ones(2))


def test_a_torchscript_archive_becomes_records_and_source() -> None:
    data = classifiers.traced_bytes(classifiers.tiny_network(), classifiers.SIDE)
    assert torch_files.is_torchscript(io.BytesIO(data))
    archive = torch_files.read_torchscript(io.BytesIO(data))
    assert isinstance(archive.network, Record)
    linear: Any = archive.network.attributes["2"]
    np.testing.assert_array_equal(
        linear.attributes["weight"],
        classifiers.tiny_network().state_dict()["2.weight"].numpy(),
    )
    assert any(b"def forward" in text for text in archive.code.values())


def test_other_files_are_no_torchscript(tmp_path: Path) -> None:
    assert not torch_files.is_torchscript(written(trained()))
    assert not torch_files.is_torchscript(io.BytesIO(b"nothing"))
    path = tmp_path / "text.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/b.txt", "c")
    assert not torch_files.is_torchscript(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read: No such file"):
        torch_files.read(tmp_path / "x.pt")


# --- hostile ones ---------------------------------------------------------------

TRACE = Path(tempfile.gettempdir()) / "ct-hostile-trace"
HARMLESS = {
    # What they hold is odd, but data; that it is no state dict is for others to say.
    *(f"{where}: {what}" for where in ("pickle", "pickle beside weights") for what in (
        "a reference far away", "pairs of pairs of pairs", "a list in itself",
    )),
}  # fmt: skip
HOSTILE = hostile.checkpoints(TRACE)


def assert_refused(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises((DamagedFileError, NotDataError)):
        torch_files.read(io.BytesIO(data))
    assert time.process_time() - started < 2
    assert not TRACE.exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name: str) -> None:
    if name in HARMLESS:
        torch_files.read(io.BytesIO(HOSTILE[name]))
        assert not TRACE.exists()
    else:
        assert_refused(HOSTILE[name])


def test_a_bomb_is_refused() -> None:
    for data in hostile.checkpoint_bombs().values():
        assert_refused(data)


def test_the_harmless_ones_are_read() -> None:
    found: Any = torch_files.read(io.BytesIO(hostile.checkpoint()))
    np.testing.assert_array_equal(found["model"]["w"], np.eye(3))
    found = torch_files.read(io.BytesIO(hostile.legacy()))
    np.testing.assert_array_equal(found["w"], np.eye(3))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensor: a storage larger than its entry", "of 4398046511104 bytes .* has 36"),
        ("tensor: quantised numbers", "numbers of the type torch.QInt8Storage"),
        ("tensor: a shape beyond the storage", "outside of its storage of 9 numbers"),
        ("pickle: os.mkdir", "os.mkdir, which is no data"),
        ("bomb: many entries", "a decompression bomb"),
        ("bomb: entries without end", "more entries than any network has"),
    ],
)
def test_the_refusal_names_what_is_no_data(name: str, message: str) -> None:
    files = HOSTILE | hostile.checkpoint_bombs()
    with pytest.raises(ModelError, match=message):
        torch_files.read(io.BytesIO(files[name]))


def test_hostile_files_cost_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    files = HOSTILE | hostile.checkpoint_bombs()
    read = "torch_files.read(path)"
    grown, has_torch = hostile.cost_of(read, files, tmp_path)
    assert grown < 400
    assert not has_torch
