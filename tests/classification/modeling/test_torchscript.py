"""TorchScript archives are looked through before torch sees them."""

from __future__ import annotations

import io
import pickle
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from classification.modeling import networks, torch_inference, torchscript
from classification.runtime.errors import ModelError
from tests import classifiers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

OVERRIDE = "; --trust-model loads it unchecked, which runs whatever it says"

FORWARD = """class Tiny(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def forward(self: __torch__.Tiny,
    x: Tensor) -> Tensor:
    {}
    return x
"""


class Tiny(torch.nn.Module):
    """Gives back what it gets."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Does nothing."""
        return x


def _entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {
            name.partition("/")[2]: archive.read(name) for name in archive.namelist()
        }


def _zip(entries: Mapping[str, bytes], folder: str = "m/") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(folder + name, content)
    return buffer.getvalue()


def _source_of(entries: Mapping[str, bytes]) -> str:
    (name,) = (name for name in entries if name.endswith(".py"))
    return name


def _with_source(text: str) -> bytes:
    """Returns the archive of Tiny, its source replaced."""
    entries = _entries(classifiers.torchscript_bytes(Tiny()))
    module = _source_of(entries)
    old = entries.pop(module).decode()
    qualified = old.partition("self: ")[2].partition(",")[0]
    entries[module] = text.replace("__torch__.Tiny", qualified).encode()
    return _zip(entries)


def _refusal(data: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        torchscript.rebuild(data)
    return str(caught.value)


def _run(data: bytes, *, trust: bool) -> None:
    network = torch_inference.load_torchscript(data, trust=trust)
    with torch.inference_mode():
        network(torch.zeros(1, 3, 8, 8))


# --- honest archives ------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        classifiers.torchscript_bytes,
        lambda network: classifiers.traced_bytes(network, classifiers.SIDE),
    ],
)
def test_an_honest_network_computes_the_same(
    make: Callable[[torch.nn.Module], bytes],
) -> None:
    network = classifiers.tiny_network()
    data = make(network)
    assert torchscript.is_torchscript(data)
    checked = torch_inference.load_torchscript(data, trust=False)
    images = torch.randn(2, 3, classifiers.SIDE, classifiers.SIDE)
    with torch.inference_mode():
        assert torch.equal(checked(images), network(images))


def test_what_is_loaded_is_what_was_checked() -> None:
    text = FORWARD.format("y = torch.add(x, x)  # torch.save(x, 'f')")
    rebuilt = _entries(torchscript.rebuild(_with_source(text)))
    assert "y = torch.add(x, x)" in rebuilt[_source_of(rebuilt)].decode()
    assert b"save" not in rebuilt[_source_of(rebuilt)]
    assert not any(name.endswith("debug_pkl") for name in rebuilt)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side"),
    [("efficientnet-b0", 224), ("efficientnet-b3", 300), ("resnet50", 224)],
)
def test_honest_traced_networks_pass(name: str, side: int) -> None:
    network = classifiers.lively(networks.build(name, 7, image_size=side), side)
    data = classifiers.traced_bytes(network, side)
    checked = torch_inference.load_torchscript(data, trust=False)
    images = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        assert torch.equal(checked(images), network(images))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "resnet18", "mobilenet_v3_small"])
def test_honest_scripted_networks_pass(name: str) -> None:
    from torchvision import models  # noqa: PLC0415 - slow to import

    network = models.get_model(name, weights=None, num_classes=3).eval()
    torch_inference.load_torchscript(
        classifiers.torchscript_bytes(network), trust=False
    )


# --- programs that do more ------------------------------------------------------


class WritesInForward(torch.nn.Module):
    """Writes a file each time it is used."""

    def __init__(self, path: str) -> None:
        """Names the file."""
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Writes the file."""
        torch.save(x, self.path)
        return x


class MapsInForward(torch.nn.Module):
    """Makes a file by mapping it into memory."""

    def __init__(self, path: str) -> None:
        """Names the file."""
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Makes the file."""
        mapped = torch.from_file(self.path, shared=True, size=10)
        return x + mapped.sum()


class WritesInSetstate(torch.nn.Module):
    """Writes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        """Names the file."""
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        """Tells what to keep."""
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        """Writes the file."""
        self.path = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Does nothing."""
        return x


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        (WritesInForward, "torch.save"),
        (MapsInForward, "torch.from_file"),
        (WritesInSetstate, "torch.save"),
    ],
)
def test_d45_a_network_that_writes_a_file_is_refused(
    tmp_path: Path, kind: Callable[[str], torch.nn.Module], operation: str
) -> None:
    trace = tmp_path / "trace"
    data = classifiers.torchscript_bytes(kind(str(trace)))
    trace.unlink(missing_ok=True)
    with pytest.raises(ModelError) as caught:
        _run(data, trust=False)
    text = str(caught.value)
    assert text.startswith(f"refused for the operation {operation} (code/__torch__")
    assert text.endswith(OVERRIDE)
    assert not trace.exists()
    _run(data, trust=True)
    assert trace.exists()  # the attack is real


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('x.save("f")', "the operation save"),
        ('(torch.add(x, x)).save("f")', "the operation save"),
        ('CONSTANTS.c0.save("f")', "the operation save"),
        ('y = x.save\n    y("f")', "the operation save"),
        ('getattr(x, "save")("f")', "the operation save"),
        ('getattr(x, torch.add("sa", "ve"))', "getattr of a name that is computed"),
        ('ops.aten.save(x, "f")', "the operation ops.aten.save"),
        ('ops.image.write_file("f", x)', "the operation ops.image.write_file"),
        ("ops.prim.rpc_async(x)", "the operation ops.prim.rpc_async"),
        ("torch.set_data(x, x)", "the operation torch.set_data"),
        ("torch.ops.aten.save(x)", "the operation torch.ops.aten.save"),
        ("y = torch", "the name torch"),
        ("y = ops", "the name ops"),
        ("torch = x", "the variable torch"),
        ("print(x)", "the name print"),
        ("open(x)", "the name open"),
        (
            '__torch__.torch.classes.dist_c10d.FileStore("f", 1)',
            "the operation __torch__.torch.classes.dist_c10d.FileStore",
        ),
        (
            'ops.prim.RaiseException("", "antigravity.Error")',
            "an exception of 'antigravity.Error'",
        ),
        ("y = lambda: 1", "Lambda, which TorchScript has not"),
        ("y = [z for z in x]", "ListComp, which TorchScript has not"),
        ("import os", "Import, which TorchScript has not"),
        ('y = "\\x07"', "a text with control characters"),
        ("y = 1j", "a constant of type complex"),
    ],
)
def test_ways_around(line: str, what: str) -> None:
    text = _refusal(_with_source(FORWARD.format(line)))
    assert text.startswith(f"refused for {what} (code/__torch__")
    assert text.endswith(OVERRIDE)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (
            FORWARD.format("pass") + "  def save(self) -> int:\n    return 1\n",
            "the operation save",
        ),
        (FORWARD.format("pass").replace("(Module)", "(Evil)"), "the class Tiny"),
        ("import os\n", "a statement outside functions"),
        ("torch.save(1, 'f')\n", "a statement outside functions"),
        ("@torch.save\ndef f() -> int:\n  return 1\n", "a decorator"),
        (
            "def f(x: int=torch.save(1)) -> int:\n  return 1\n",
            "the operation torch.save",
        ),
        ("class A(Module):\n  torch.save(1)\n", "a statement outside functions"),
    ],
)
def test_ways_around_outside_of_functions(source: str, what: str) -> None:
    assert _refusal(_with_source(source)).startswith(f"refused for {what}")


@pytest.mark.parametrize("source", ["def f(:\n", "x = 'é'\n", "\0", "(" * 500])
def test_text_that_is_no_source(source: str) -> None:
    assert "not TorchScript source" in _refusal(_with_source(source))


def test_source_that_is_nested_too_deeply() -> None:
    assert _refusal(_with_source(FORWARD.format("y = x" + ".a" * 5000))).startswith(
        ("refused for source that is nested too deeply", "code/")
    )


def test_too_much_source() -> None:
    text = _refusal(_with_source("#" * (torchscript.MAX_SOURCE_BYTES + 1)))
    assert text == f"refused for more than 16777216 bytes of source{OVERRIDE}"


def test_the_version_line_of_older_archives_passes() -> None:
    torchscript.rebuild(_with_source("op_version_set = 3\n" + FORWARD.format("pass")))


# --- pickles --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pickled", "what"),
    [
        (b"\x80\x02cos\nsystem\n.", "the class os.system (data.pkl)"),
        (pickle.dumps(io.BytesIO, 4), "the pickle instruction"),
        (b"\x80\x02c__torch__\nElse\n.", "the class __torch__.Else (data.pkl)"),
        (
            b"\x80\x02c__torch__.torch.classes.x\nY\n.",
            "the class __torch__.torch.classes.x.Y (data.pkl)",
        ),
        (
            pickle.dumps("List[__torch__.torch.classes.x.Y]", 2),
            "the class List[__torch__.torch.classes.x.Y] (data.pkl)",
        ),
    ],
)
def test_pickles_name_only_their_own(pickled: bytes, what: str) -> None:
    entries = _entries(classifiers.torchscript_bytes(Tiny()))
    entries["data.pkl"] = pickled
    assert _refusal(_zip(entries)).startswith(f"refused for {what}")


def test_a_damaged_pickle() -> None:
    entries = _entries(classifiers.torchscript_bytes(Tiny()))
    entries["data.pkl"] = entries["data.pkl"][:-1]
    assert _refusal(_zip(entries)).startswith("damaged TorchScript archive: data.pkl: ")


# --- archives -------------------------------------------------------------------


def test_an_entry_that_does_not_belong() -> None:
    entries = _entries(classifiers.torchscript_bytes(Tiny()))
    assert _refusal(_zip(entries | {"code/../x.py": b""})) == (
        f"refused for the entry 'm/code/../x.py': not of a TorchScript archive{OVERRIDE}"
    )


def test_an_entry_that_stands_twice() -> None:
    buffer = io.BytesIO(_zip(_entries(classifiers.torchscript_bytes(Tiny()))))
    with (
        zipfile.ZipFile(buffer, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("m/data.pkl", b"")
    assert "'m/data.pkl'" in _refusal(buffer.getvalue())


def test_a_second_folder() -> None:
    buffer = io.BytesIO(_zip(_entries(classifiers.torchscript_bytes(Tiny()))))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("n/data.pkl", b"")
    assert "'n/data.pkl'" in _refusal(buffer.getvalue())


def test_a_decompression_bomb() -> None:
    entries = _entries(classifiers.torchscript_bytes(Tiny()))
    buffer = io.BytesIO(_zip(entries))
    size = torchscript.MAX_COMPRESSED_ENTRY_BYTES + 1
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data/99", bytes(size))
    assert _refusal(buffer.getvalue()) == (
        f"refused for the entry 'm/data/99': {size} bytes when unpacked; a "
        f"decompression bomb{OVERRIDE}"
    )


@pytest.mark.parametrize("missing", ["data.pkl", "constants.pkl", "version"])
def test_an_archive_that_lacks_something(missing: str) -> None:
    entries = _entries(classifiers.torchscript_bytes(Tiny()))
    names = {"version", ".data/version"} if missing == "version" else {missing}
    kept = {name: v for name, v in entries.items() if name not in names}
    assert "archive" in _refusal(_zip(kept))


def test_a_truncated_archive() -> None:
    data = classifiers.torchscript_bytes(classifiers.tiny_network())
    assert not torchscript.is_torchscript(data[:-100])
    assert _refusal(data[:-100]).startswith("damaged TorchScript archive: ")
    flipped = bytearray(data)
    place = data.index(b"__torch__")
    flipped[place] ^= 1
    with pytest.raises(ModelError):
        torchscript.rebuild(bytes(flipped))


def test_a_checkpoint_is_no_torchscript(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pt")
    assert not torchscript.is_torchscript((tmp_path / "x.pt").read_bytes())
    assert not torchscript.is_torchscript(np.zeros(9).tobytes())
