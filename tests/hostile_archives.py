"""Model files that were made to harm: archives of torch written byte by byte.

``checkpoints`` and ``torchscript`` give them by name, ``checkpoint_bombs`` and
``torchscript_bombs`` those that take seconds to pack. None of them may do more than
be refused: nothing is written at ``trace``, nothing is connected to, and reading one costs
little more than a harmless one (``checkpoint()``, ``archive()``).
"""

from __future__ import annotations

import functools
import io
import struct
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SIDE = 3  # of the square weight matrix
MODULE = "__torch__.net"
ENTRY = "code/__torch__/net.py"
HEAD = """\
class Net(Module):
  __parameters__ = ["w", ]
  __buffers__ = []
  w : Tensor
  training : bool
  def forward(self: __torch__.net.Net,
    x: Tensor) -> Tensor:
"""
HARMLESS = "w = self.w\nreturn torch.matmul(torch.mean(x, [2, 3]), w)"


# --- pickles, instruction by instruction ----------------------------------------


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + b"(" + b"".join(arguments) + b"tR"


def storage(
    *, kind: str = "FloatStorage", key: str = "0", device: str = "cpu", count: int = 9
) -> bytes:
    parts = text("storage"), named("torch", kind), text(key), text(device)
    return b"(" + b"".join(parts) + integer(count) + b"tQ"


def tensor(
    numbers: bytes | None = None,
    *,
    offset: int = 0,
    size: tuple[int, ...] = (SIDE, SIDE),
    stride: tuple[int, ...] = (SIDE, 1),
    function: str = "_rebuild_tensor_v2",
) -> bytes:
    hooks = b"\x89" + call("collections", "OrderedDict")
    return call(
        "torch._utils",
        function,
        storage() if numbers is None else numbers,
        integer(offset),
        integers(size),
        integers(stride),
        hooks,
    )


def mapping(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(k) + v for k, v in items.items()) + b"u"


def pickled(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


# --- archives -------------------------------------------------------------------


def packed(entries: Mapping[str, bytes], *, how: int = zipfile.ZIP_STORED) -> bytes:
    """Writes a zip as torch does: everything in one folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as file:
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(f"net/{name}"), content, how)
    return buffer.getvalue()


def weights() -> bytes:
    return np.eye(SIDE, dtype="<f4").tobytes()


def checkpoint(
    value: bytes | None = None, extra: Mapping[str, bytes] | None = None
) -> bytes:
    """Returns a checkpoint with one tensor ``w``, or with what ``value`` pickles."""
    value = mapping(model=mapping(w=tensor())) if value is None else value
    entries = {"data.pkl": pickled(value), "data/0": weights(), "version": b"3\n"}
    return packed({**entries, **(extra or {})})


def legacy(value: bytes | None = None, numbers: bytes | None = None) -> bytes:
    """Returns a checkpoint as torch wrote it before 1.6."""
    if value is None:
        value = mapping(w=tensor(_legacy_storage()))
    parts = (
        integer(0x1950A86A20F9469CFC6C),
        integer(1001),
        mapping(little_endian=b"\x88"),
        value,
        b"](" + text("0") + b"e",
    )
    tail = struct.pack("<q", 9) + weights() if numbers is None else numbers
    return b"".join(map(pickled, parts)) + tail


def _legacy_storage(count: int = 9) -> bytes:
    return storage(count=count).removesuffix(b"tQ") + b"NtQ"


def network(attributes: bytes | None = None) -> bytes:
    """Pickles the network of a TorchScript archive."""
    if attributes is None:
        attributes = mapping(training=b"\x89", w=tensor())
    return named("__torch__.net", "Net") + b")\x81" + attributes + b"b"


def archive(  # noqa: PLR0913 - all that can be wrong with one
    body: str = HARMLESS,
    *,
    value: bytes | None = None,
    before: str = "",
    after: str = "",
    extra: Mapping[str, bytes] | None = None,
    how: int = zipfile.ZIP_STORED,
) -> bytes:
    """Returns a TorchScript archive that was traced, or looks like it.

    Args:
        body: statements of ``forward(self, x)``, not indented.
        value: what ``data.pkl`` holds.
        before: source before the class ``Net``.
        after: source behind it.
        extra: other entries, or others in the place of these.
        how: how the entries are packed.
    """
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    entries = {
        "data.pkl": pickled(network() if value is None else value),
        ENTRY: f"{before}{HEAD}{lines}{after}".encode(),
        "data/0": weights(),
        "constants.pkl": pickled(b")"),
        "version": b"3\n",
    }
    return packed({**entries, **(extra or {})}, how=how)


# --- what is wrong with numbers and pickles -------------------------------------


def _tensors() -> dict[str, bytes]:
    """Pickles of tensors that lie about themselves."""
    return {
        "a storage larger than its entry": tensor(storage(count=1 << 40)),
        "a storage smaller than its entry": tensor(storage(count=8)),
        "a storage of negative size": tensor(storage(count=-9)),
        "a storage without an entry": tensor(storage(key="7")),
        "a storage outside of the archive": tensor(storage(key="../../../etc/passwd")),
        "a storage of another type": tensor(storage(kind="DoubleStorage")),
        "quantised numbers": tensor(storage(kind="QInt8Storage")),
        "complex numbers": tensor(storage(kind="ComplexFloatStorage")),
        "a meta tensor": tensor(storage(device="meta")),
        "a shape beyond the storage": tensor(size=(3, 1 << 22), stride=(1 << 22, 1)),
        "a shape that overflows": tensor(size=(1 << 32, 1 << 32), stride=(1, 1)),
        "a long storage by stride 0": tensor(size=(1 << 40,), stride=(0,)),
        "an offset beyond the storage": tensor(offset=1 << 40),
        "a negative offset": tensor(offset=-8),
        "a negative shape": tensor(size=(-3, 3)),
        "a negative stride": tensor(stride=(-3, 1)),
        "more strides than sides": tensor(stride=(3, 1, 1)),
        "a hundred sides": tensor(size=(1,) * 100, stride=(1,) * 100),
        "a tensor of a text": tensor(text("storage")),
        "a tensor of a tensor": tensor(tensor()),
        "many tensors of one storage": _aliases(),
    }


def _aliases() -> bytes:
    """One storage of 16 MiB, shown as a whole by a thousand tensors."""
    whole = {"offset": 0, "size": (1 << 22,), "stride": (1,)}
    numbers = storage(key="1", count=1 << 22)
    views = [tensor(numbers, **whole) for _ in range(1000)]  # type: ignore[arg-type]
    return b"](" + b"".join(views) + b"e"


_ALIASED = {"data/1": bytes(1 << 24)}


def _objects(trace: Path) -> dict[str, bytes]:
    """Pickles that call, or name, what is no data."""
    path = text(str(trace))
    shell = text(f"touch '{trace}'")
    return {
        "os.mkdir": call("os", "mkdir", path),
        "posix.system": call("posix", "system", shell),
        "nt.system": call("nt", "system", shell),
        "subprocess.Popen": call("subprocess", "Popen", shell),
        "builtins.open": call("builtins", "open", path, text("w")),
        "io.open": call("io", "open", path, text("w")),
        "builtins.eval": call("builtins", "eval", text(f"open({str(trace)!r}, 'w')")),
        "builtins.exec": call("builtins", "exec", text(f"open({str(trace)!r}, 'w')")),
        "builtins.getattr": call("builtins", "getattr", path, text("strip")),
        "old builtins": call("__builtin__", "open", path, text("w")),
        "torch.load": call("torch", "load", path),
        "torch.save": call("torch", "save", b"N", path),
        "torch.storage": call("torch.storage", "_load_from_bytes", b"C\x00"),
        "torch.hub": call("torch.hub", "load", path, text("x")),
        "torch.jit": call("torch.jit", "load", path),
        "numpy.load": call("numpy", "load", path),
        "numpy.memmap": call("numpy", "memmap", path),
        "numpy of odd type": call("numpy", "dtype", text("O8"), b"\x89", b"\x88"),
        "a dotted name": call("torch", "_utils._rebuild_tensor_v2", b"N"),
        "a class of torch": named("torch.nn.modules.linear", "Linear") + b")\x81}b",
        "pathlib": call("pathlib", "PosixPath", path),
        "sockets": call("socket", "create_connection", integers((127, 9))),
        "urllib": call("urllib.request", "urlopen", text("http://127.0.0.1:9/")),
        "functools.partial": call("functools", "partial", named("os", "mkdir"), path),
        "copyreg": call("copyreg", "_reconstructor", named("os", "error")),
        "a name from the stack": text("os") + text("mkdir") + b"\x93(" + path + b"tR",
        "an old instance": b"(" + path + b"ios\nmkdir\n",
        "an old object": b"(" + named("os", "mkdir") + path + b"o",
        "an extension code": b"\x82\x01",
        "a call of a text": text("os.mkdir") + b"(" + path + b"tR",
        "a storage of a text": b"(" + text("storage") + text("FloatStorage") + b"tQ",
        "a persistent id": b"(" + text("file") + path + b"tQ",
        "a sparse tensor": tensor(function="_rebuild_sparse_tensor"),
        "a quantised tensor": tensor(function="_rebuild_qtensor"),
        "a tensor of a subclass": call("torch._tensor", "_rebuild_from_type_v2", path),
    }


def _pickles() -> dict[str, bytes]:
    """Pickles that break their own rules, or are made to cost much."""
    nested = b"]q\x000" + b"h\x00h\x00\x86q\x000" * 60 + b"h\x00"
    return {
        "nothing on the stack": b"",
        "a mark without end": b"(((((",
        "an unknown reference": b"h\x09",
        "a reference far away": b"N" + b"r\xff\xff\xff\x7f",
        "a text that does not end": b"X\xff\xff\xff\x7f",
        "bytes that do not end": b"B\xff\xff\xff\x7f",
        "a text of no characters": b"X\x02\x00\x00\x00\xff\xff",
        "a key that is a list": b"}]Ns",
        "keys that share one hash": b"}("
        + b"".join(integer(n * ((1 << 61) - 1)) + b"N" for n in range(1, 2000))
        + b"u",
        "a set of lists": call("builtins", "set", b"](]e"),
        "a dict of pairs": call("collections", "OrderedDict", b"](NNe"),
        "items of a number": b"K\x01(" + text("a") + b"Nu",
        "appended to a dict": b"}Na",
        "lists without end": b"]" * 2_000_000,
        "lists in lists": b"]" * 400_000 + b"a" * 399_999,
        "pairs of pairs of pairs": nested,
        "a list in itself": b"]q\x00h\x00a",
    }


def checkpoints(trace: Path) -> dict[str, bytes]:
    """Returns hostile state dicts and checkpoints by name."""
    files = {
        f"tensor: {name}": checkpoint(mapping(model=mapping(w=value)), _ALIASED)
        for name, value in _tensors().items()
    }
    for name, value in (_objects(trace) | _pickles()).items():
        files[f"pickle: {name}"] = checkpoint(mapping(model=value))
        files[f"pickle beside weights: {name}"] = checkpoint(
            mapping(model=mapping(w=tensor()), epoch=value)
        )
        files[f"legacy: {name}"] = legacy(mapping(w=value))
    return files | _torn()


def _torn() -> dict[str, bytes]:
    huge = struct.pack("<q", 1 << 40) + weights()
    return {
        "nothing": b"",
        "no file of torch": b"hello, world\n" * 100,
        "the first half": checkpoint()[: len(checkpoint()) // 2],
        "a byte changed": checkpoint().replace(weights()[:4], b"\xff\xff\xff\xff", 1),
        "legacy: torn": legacy()[:-10],
        "legacy: no numbers": legacy(numbers=b""),
        "legacy: a huge storage": legacy(
            mapping(w=tensor(_legacy_storage(1 << 40))), huge
        ),
        "legacy: a huge number": legacy(numbers=huge),
        "legacy: no keys": legacy(mapping(epoch=integer(1))),
        "legacy: two sizes": legacy(
            mapping(w=tensor(_legacy_storage()), v=tensor(_legacy_storage(4)))
        ),
        "legacy: another magic": pickled(integer(1)) + legacy(),
    }


def _many_entries() -> dict[str, bytes]:
    blob = bytes(64 << 20)
    return {f"data/{n}": blob for n in range(1, 25)}


@functools.cache
def checkpoint_bombs() -> dict[str, bytes]:
    """Return checkpoints that unpack to far more than they are."""
    base = {"data.pkl": pickled(mapping(w=tensor())), "data/0": weights()}
    long = {**base, "data.pkl": pickled(mapping(w=text("a" * (1 << 28))))}
    empty = {**base, **{f"data/{n}": b"" for n in range(1, 80_000)}}
    return {
        "bomb: many entries": packed(
            {**base, **_many_entries()}, how=zipfile.ZIP_DEFLATED
        ),
        "bomb: a long text": packed(long, how=zipfile.ZIP_DEFLATED),
        "bomb: entries without end": packed(empty),
        "bomb: overlapping entries": _overlapping(base),
    }


def _overlapping(base: Mapping[str, bytes]) -> bytes:
    """A directory that names one large entry a hundred times."""
    data = bytearray(packed({**base, "data/1": bytes(4 << 20)}))
    start = data.index(b"PK\x01\x02")
    tail = data.index(b"PK\x05\x06")
    directory = bytes(data[start:tail])
    last = directory[directory.rindex(b"PK\x01\x02") :]
    copies = b"".join(
        last.replace(b"net/data/1", b"net/data/%c" % (65 + n)) for n in range(60)
    )
    end = bytearray(data[tail:])
    count = len(base) + 1 + 60
    struct.pack_into("<HHI", end, 8, count, count, len(directory) + len(copies))
    return bytes(data[:tail]) + copies + bytes(end)


# --- TorchScript ----------------------------------------------------------------

# Operations of torch that reach files, machines or memory, or do what no table holds.
_OPERATIONS = """
    torch.save(x, "TRACE")
    torch.from_file("TRACE", True, 9)
    torch.load("TRACE")
    torch.resize_(x, [2, 100000])
    torch.set_(x, x)
    torch.as_strided(x, [1, 1 << 20], [1 << 20, 1])
    torch.as_strided(x, [1, 3], [1, 1], 99999999)
    torch.fill_(torch.detach(self.w), 1.5)
    torch.copy_(self.w, x)
    torch.data_ptr(x)
    torch.storage_offset(x)
    torch.empty([1, 1000000000000])
    torch.zeros([100000, 100000])
    torch.arange(0, 1000000000000)
    torch.rand([1, 3])
    torch.bernoulli(x)
    torch.index_put_(x, [x], x)
    torch.scatter_(x, 1, x, 1.)
    torch.gather(x, 1, x)
    torch.repeat(x, [1000000, 1000000])
    torch.special_i0(x)
    torch.quantize_per_tensor(x, 0.1, 0, 13)
    torch.to_sparse(x)
    torch._foreach_add_([x], 1.)
    torch.classes.rnn.CellParams(x)
    torch.jit.load("TRACE")
    torch.ops.aten.save(x, "TRACE")
    torch.distributed.rpc.rpc_async("TRACE", x)
    torch.OPERATORS(x)
    torch.__class__(x)
    torch.Size(x)
    ops.prim.rpc_async("TRACE", x)
    ops.prim.RaiseException("TRACE", "os.system")
    ops.prim.device(x)
    ops.prim.GetAttr(self, "w")
    ops.aten.save(x, "TRACE")
    ops.torchvision.nms(x, x, 0.5)
    ops.image.write_file("TRACE", x)
    ops.quantized.linear(x, x, 1., 0)
    unchecked_cast(Tensor, self)
    uninitialized(Tensor)
    unwrap_optional(x)
    fork(x)
    print(x)
    open("TRACE", "w")
    eval("open('TRACE', 'w')")
    exec("open('TRACE', 'w')")
    __import__("os")
    getattr(x, "resize_")
    getattr(self, "w", None)
    getattr(self, x)
    getattr(self, "__class__")
    getattr(self, "attributes")
    hasattr(self, "w")
    isinstance(x, Tensor)
    (self).nothing(x, )
    (self).forward(x, x)
    (self).forward(x, )
    (x).resize_([2, 100000])
    (self.w).numpy()
    self.w.memory
    self.__dict__
    self.name
    CONSTANTS.c7
    CONSTANTS.attributes
    __torch__.net.nothing(x)
    __torch__.os.system("TRACE")
    x + x
    x[0]
    x.shape
    [x for y in x]
    [*x]
    {"a": x}
    (lambda y: y)(x)
    "a".join(x)
    f"{x}"
    x if x else x
    not x
    -x
    1j
    ...
    b"a"
    nothing
    getattr
    torch
    torch.nn
    torch.relu
    int
    int(x)
    annotate(Tensor, x)
"""

# Operations of the table, on what does not fit or takes far too much.
_MISUSE = """
    torch.matmul(x, x)
    torch.matmul(x, w)
    torch.relu("TRACE")
    torch.relu([x])
    torch.relu(x, 1, 2, 3)
    torch.relu(input=x, out=w)
    torch.add(x, "TRACE")
    torch.add(x, self)
    torch.mul(x, torch.size(x, 0))
    torch.mean(x, [0])
    torch.mean(x, [9])
    torch.softmax(x, 0)
    torch.cat([x, x], 0)
    torch.cat([], 1)
    torch.select(x, 0, 0)
    torch.select(x, 1, 77)
    torch.slice(x, 0, 0, 1)
    torch.slice(x, 1, 0, 9, 0)
    torch.reshape(x, [1, -1])
    torch.reshape(x, [-1, -1])
    torch.reshape(x, [2147483647, 3])
    torch.reshape(x, [7, 7])
    torch.view(x, [0, 0])
    torch.permute(x, [0, 0, 0, 0])
    torch.transpose(x, 0, 99)
    torch.squeeze(x, 99)
    torch.unsqueeze(x, 99)
    torch.pad(x, [100000, 100000, 100000, 100000])
    torch.pad(x, [9223372036854775807, 0])
    torch.pad(x, [-500, -500])
    torch.pad(x, [0, 0, 0, 0, 0, 0, 1, 1])
    torch.pad(x, [1, 1], "reflect")
    torch.expand(torch.unsqueeze(x, 0), [1000000, -1, -1, -1, -1])
    torch.expand(x, [-1, 100000, -1, -1])
    torch.adaptive_avg_pool2d(x, [100000, 100000])
    torch.adaptive_avg_pool2d(x, [0, 0])
    torch.max_pool2d(x, [0, 0])
    torch.max_pool2d(x, [3, 3], [0, 0])
    torch.avg_pool2d(x, [3, 3], [1, 1], [-1, -1])
    torch.split(x, 0, 1)
    torch.split(x, 1)
    torch.chunk(x, 0, 1)
    torch.unbind(x)
    torch.stack([x, w], 1)
    torch._convolution(x, w, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, False, False, True, True)
    torch.conv2d(x, x)
    torch.conv2d(x, torch.reshape(w, [3, 3, 1, 1]), None, [0, 0])
    torch.conv2d(x, torch.reshape(w, [3, 3, 1, 1]), None, [1, 1], [30000, 30000])
    torch.linear(x, w)
    torch.batch_norm(x, w, w, w, w, True, 0.1, 0.00001, True)
    torch.batch_norm(x, w, w, w, w, False, 0.1, 0.00001, True)
    torch.layer_norm(x, [9], None, None)
    torch.dropout(x, 0.5, True)
    torch.add_(w, 1)
    torch.relu_(w)
    torch.index(x, [w])
    torch.div(1, 0)
    torch.div(torch.size(x, 0), 2, rounding_mode="trunc")
    torch.to(x, 5)
    torch.norm(x, 1, [1])
    torch.roll(x, [1], [0])
    torch.scaled_dot_product_attention(x, x, x, None, 0.5, True)
"""

_BODIES = {
    "getattr under another name": 'g = getattr\nr = g(self, "w")\nreturn r',
    "an operation under another name": "f = torch.resize_\nreturn f(x, [9])",
    "torch under another name": "t = torch\nreturn t.relu(x)",
    "another torch": "torch = self\nreturn torch.relu(x)",
    "another getattr": 'getattr = self\nreturn getattr(self, "w")',
    "a branch": "if True:\n  return x\nreturn x",
    "a loop": "for i in range(9):\n  x = torch.relu(x)\nreturn x",
    "a loop without end": "while True:\n  x = torch.relu(x)\nreturn x",
    "no result": "y = torch.relu(x)",
    "an empty result": "return",
    "a result of many": "return (x, x)",
    "the network itself": "return self",
    "its weights": "return self.w",
    "a number": "return 1",
    "images": "return x",
    "an import": "import os\nreturn x",
    "an attribute that is set": "self.w = x\nreturn x",
    "an item that is set": "x[0] = x\nreturn x",
    "a sum in place": "x += x\nreturn x",
    "an assertion": "assert False\nreturn x",
    "a deletion": "del x\nreturn x",
    "a global": "global torch\nreturn x",
    "a try": "try:\n  pass\nfinally:\n  pass\nreturn x",
    "a with": "with x:\n  pass\nreturn x",
    "a function inside": "def f(x):\n  return x\nreturn f(x)",
    "a class inside": "class F:\n  pass\nreturn x",
    "a yield": "y = yield x\nreturn x",
    "a walrus": "y = (z := x)\nreturn x",
    "values that do not fit": "a, b = [x]\nreturn x",
    "a tensor in parts": "a, b = x\nreturn x",
    "used after an operation in place": (
        "y = torch.mean(x, [2, 3])\nz = torch.relu_(y)\nreturn torch.add(y, z)"
    ),
    "used after an operation on a part": (
        "y = torch.mean(x, [2, 3])\np = torch.slice(y, 1, 0, 2)\nz = torch.relu_(p)\n"
        "return y"
    ),
    "a part used after an operation": (
        "y = torch.mean(x, [2, 3])\np = torch.slice(y, 1, 0, 3, 1)\nq = torch.t(y)\n"
        "z = torch.add_(y, 1.)\nreturn torch.t(q)"
    ),
    "written over by a part of itself": (
        "y = torch.mean(x, [2, 3])\nz = torch.mul_(y, torch.reshape(y, [-1, 3]))\n"
        "return z"
    ),
    "many large layers": "\n".join(
        ["y = torch.cat([x, x, x, x, x, x, x, x], 1)"]
        + ["y = torch.cat([y, y, y, y], 1)"] * 7
        + ["return torch.mean(y, [2, 3])"]
    ),
    "many layers at once": "\n".join(
        [
            f"y{n} = torch.relu(torch.cat([x, x, x, x, x, x, x, x], 1))"
            for n in range(99)
        ]
        + [
            f"return torch.mean(torch.cat([{', '.join(f'y{n}' for n in range(99))}], 1), [2, 3])"
        ]
    ),
    "brackets in brackets": f"return {'(' * 5000}x{')' * 5000}",
    "lists in lists": f"return {'[' * 150}x{']' * 150}",
    "signs without end": f"return {'-' * 30000}1",
    "attributes without end": f"return self{'.w' * 30000}",
    "calls in calls": f"return {'torch.relu(' * 190}x{')' * 190}",
    "a long line": f"y = [{'x, ' * 100_000}]\nreturn x",
    "many statements": "y = torch.relu(x)\n" * 60_000 + "return torch.mean(y, [2, 3])",
    "a text without end": 'y = "' + "a" * 60_000 + "\nreturn x",
    "no source": "\x00\x01\x02",
    "not in ASCII": "ü = x\nreturn ü",
}


def _modules() -> dict[str, bytes]:
    """Archives whose classes and functions call each other without end."""
    double = "".join(
        f"def f{n}(x: Tensor) -> Tensor:\n"
        f"  y = __torch__.net.f{n + 1}(x)\n"
        f"  return __torch__.net.f{n + 1}(y)\n"
        for n in range(40)
    )
    last = "def f40(x: Tensor) -> Tensor:\n  return torch.relu(x)\n"
    itself = "def f(x: Tensor) -> Tensor:\n  return __torch__.net.f(x)\n"
    cast = (
        "class B(Module):\n  a : Tensor\n"
        "  def f(self: __torch__.net.B) -> Tensor:\n    return self.a\n"
    )
    first = "return torch.mean(__torch__.net.{}(x), [2, 3])"
    return {
        "calls that double": archive(first.format("f0"), before=double + last),
        "a function of itself": archive(first.format("f"), before=itself),
        "a function by another name": archive(
            "f = __torch__.net.f\nreturn f(x)", before=itself
        ),
        "a cast": archive(
            "b = unchecked_cast(__torch__.net.B, self)\nreturn (b).f()", before=cast
        ),
        "a decorator": archive(
            first.format("f"), before="@torch.jit.export\n" + last.replace("f40", "f")
        ),
        "no class": archive(extra={ENTRY: b"x = 1\n"}),
        "no code": archive(extra={ENTRY: b""}),
        "another class": archive(value=named("__torch__.other", "Net") + b")\x81}b"),
        "a class outside of the code": archive(value=named("os", "Net") + b")\x81}b"),
        "no network": archive(value=integer(7)),
        "a tensor for a network": archive(value=tensor()),
        "no constants": archive(extra={"constants.pkl": b""}),
        "constants of odd kind": archive(
            "return CONSTANTS.c0", extra={"constants.pkl": pickled(b"(cos\nsystem\nt")}
        ),
        "weights of another type": archive(
            value=network(
                mapping(w=tensor(storage(kind="HalfStorage", count=18), size=(3, 3)))
            )
        ),
        "source without end": archive(after="#" * (5 << 20), how=zipfile.ZIP_DEFLATED),
    }


def torchscript(trace: Path) -> dict[str, bytes]:
    """Returns hostile TorchScript archives by name."""
    files = {
        f"tensor: {name}": archive(
            value=network(mapping(training=b"\x89", w=value)), extra=_ALIASED
        )
        for name, value in _tensors().items()
    }
    for name, value in (_objects(trace) | _pickles()).items():
        files[f"attribute: {name}"] = archive(
            "return self.n", value=network(mapping(w=tensor(), n=value))
        )
        files[f"constant: {name}"] = archive(
            "return CONSTANTS.c0", extra={"constants.pkl": pickled(b"(" + value + b"t")}
        )
    for line in filter(None, map(str.strip, _OPERATIONS.splitlines())):
        call_ = line.replace("TRACE", str(trace))
        files[f"operation: {line}"] = archive(f"y = {call_}\nreturn y")
    for line in filter(None, map(str.strip, _MISUSE.splitlines())):
        call_ = line.replace("TRACE", str(trace))
        files[f"misuse: {line}"] = archive(f"w = self.w\ny = {call_}\nreturn y")
    files |= {f"code: {name}": archive(body) for name, body in _BODIES.items()}
    files |= {f"archive: {name}": data for name, data in _modules().items()}
    return files


@functools.cache
def torchscript_bombs() -> dict[str, bytes]:
    """Return TorchScript archives that unpack to far more than they are."""
    many = archive(extra=_many_entries(), how=zipfile.ZIP_DEFLATED)
    return {"bomb: many entries": many}


_COST = """
import resource, sys
from pathlib import Path
from classification.model_files import torch_files, traced
from classification.runtime.errors import ModelError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in map(Path, sys.argv[1:]):
    try:
        READ
    except ModelError:
        pass
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((peak - before) // 1024, "torch" in sys.modules)
"""


def cost_of(read: str, files: Mapping[str, bytes], folder: Path) -> tuple[int, bool]:
    """Read files in a process of their own.

    Args:
        read: the expression that reads ``path``.
        files: contents by name.
        folder: where they are put.

    Returns:
        By how many MiB its memory grew at most, and whether it imported torch.
    """
    paths = [folder / f"{number}.pt" for number in range(len(files))]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", _COST.replace("READ", read), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    grown, has_torch = done.stdout.split()
    return int(grown), has_torch == "True"
