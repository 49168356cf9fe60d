"""Reads what torch writes, into numpy arrays: state dicts, checkpoints, TorchScript.

Three layouts: a zip (torch 1.6 and later) of ``data.pkl`` and one entry for each storage,
``data/<key>``; a TorchScript archive, which is such a zip with ``constants.pkl`` and source
code beside it; and, before, pickles one after the other with the storages behind them
(https://github.com/pytorch/pytorch/blob/main/torch/serialization.py). Nothing of a file is
run, and torch is not imported.

What a file may cost is bounded: a storage is as large as its entry, a tensor lies inside
its storage, and neither what is unpacked nor all tensors together are much larger than the
file.
"""

from __future__ import annotations

import io
import math
import re
import sys
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided

from classification.model_files import pickles
from classification.model_files.pickles import (
    Class,
    DamagedFileError,
    Function,
    NotDataError,
    Record,
)
from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

# Of the directory of a zip: some hundred bytes for each entry.
_MAX_DIRECTORY_BYTES = 4 << 20
# What entries may unpack to, and tensors add up to, beside some multiples of the file.
_FREE_BYTES = 64 << 20
_UNPACKED_FILES, _TENSOR_FILES = 2, 8
_MAX_SOURCE_BYTES = (
    4 << 20
)  # of all code of an archive; a traced EfficientNet-B7: 0.4 MB
_MAX_DIMENSIONS = 32
_MAX_PARTS, _MAX_PATH = 200_000, 60  # attributes of a network, one within the other

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_ZIP_MAGIC = b"PK\x03\x04"
_MODULE = re.compile(r"code/(__torch__(?:/\w+)*)\.py")

_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(kind)
    for name, kind in {
        "Double": np.float64,
        "Float": np.float32,
        "Half": np.float16,
        "BFloat16": np.uint16,  # the upper half of a float32
        "Long": np.int64,
        "Int": np.int32,
        "Short": np.int16,
        "Char": np.int8,
        "Byte": np.uint8,
        "Bool": np.bool_,
    }.items()
}
_STORAGE = re.compile(r"torch\.(?:cuda\.)?(\w+)Storage")
_TORCH_DTYPE = re.compile(
    r"torch\.(?:b?float|u?int|bool|complex|half|double|long|short)\d*"
)


@dataclass(frozen=True)
class Archive:
    """A TorchScript archive.

    Attributes:
        network: the module, a record of ``__torch__.…``; tensors are numpy arrays.
        constants: what the code names ``CONSTANTS.c0``, ``CONSTANTS.c1``, ….
        code: source by module, such as ``__torch__.torchvision.models.resnet``.
    """

    network: object
    constants: tuple[object, ...]
    code: Mapping[str, bytes]

    def weights(self) -> dict[str, NDArray[Any]]:
        """Returns the network's state dict: its tensors by their attribute path.

        Raises:
            ModelError: parts within parts without end.
        """
        found: dict[str, NDArray[Any]] = {}
        parts: list[tuple[tuple[str, ...], object]] = [((), self.network)]
        for _ in range(_MAX_PARTS):
            if not parts:
                return found
            path, part = parts.pop()
            if isinstance(part, np.ndarray):
                found[".".join(path)] = part
            elif isinstance(part, Record) and len(path) <= _MAX_PATH:
                parts += [((*path, name), v) for name, v in part.attributes.items()]
        raise DamagedFileError("a network of parts without end")


@dataclass(frozen=True, eq=False)
class _Storage:
    """Numbers in memory, which tensors show parts of."""

    values: NDArray[Any]
    kind: str


class _Budget:
    """What tensors may still add up to, in bytes."""

    def __init__(self, file_bytes: int) -> None:
        self._left = _FREE_BYTES + _TENSOR_FILES * file_bytes

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise DamagedFileError(
                "tensors that add up to far more than the file holds"
            )


def read(
    source: Path | BinaryIO,
    tensor: Callable[[NDArray[Any]], object] = lambda array: array,
) -> object:
    """Reads a file of ``torch.save``.

    Args:
        source: the file.
        tensor: makes a tensor of an array, which is its own memory and may be written
            to. bfloat16 comes as float32; an ``OrderedDict`` as a dict, a dtype or
            device as a text.

    Raises:
        ModelError: it is missing, damaged (``DamagedFileError``), or holds more than
            data (``NotDataError``).
    """
    with _opened(source) as (file, size):
        file.seek(0)
        if file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC:
            with _zip(file, size) as entries:
                return entries.document("data.pkl", "data", tensor)
        file.seek(0)
        return _read_legacy(file, size, tensor)


def is_torchscript(source: Path | BinaryIO) -> bool:
    """Return whether this is a TorchScript archive; False where it cannot be read."""
    try:
        with _opened(source) as (file, size), _zip(file, size) as entries:
            return any(
                name == "constants.pkl" or name.startswith("code/")
                for name in entries.infos
            )
    except ModelError:  # who goes on to read it says why
        return False


def read_torchscript(source: Path | BinaryIO) -> Archive:
    """Reads a TorchScript archive.

    Raises:
        ModelError: as for ``read``.
    """
    with _opened(source) as (file, size), _zip(file, size) as entries:
        for name in ("data.pkl", "constants.pkl"):
            if name not in entries.infos:
                raise DamagedFileError(
                    f"no TorchScript of torch 1.4 or later: the archive has no {name}"
                )
        code = {
            found[1].replace("/", "."): name
            for name in entries.infos
            if (found := _MODULE.fullmatch(name))
        }
        if sum(entries.infos[name].file_size for name in code.values()) > (
            _MAX_SOURCE_BYTES
        ):
            raise NotDataError(f"more than {_MAX_SOURCE_BYTES >> 20} MiB of source")
        constants = entries.document("constants.pkl", "constants", lambda array: array)
        return Archive(
            network=entries.document("data.pkl", "data", lambda array: array),
            constants=constants if isinstance(constants, tuple) else (),
            code={module: entries.read(name) for module, name in code.items()},
        )


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[tuple[BinaryIO, int]]:
    """Opens a file, and says how long it is; turns faults of reading into ModelError."""
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                yield file, file.seek(0, io.SEEK_END)
                return
        yield source, source.seek(0, io.SEEK_END)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError) as error:
        raise DamagedFileError(f"no whole file of torch ({error})") from error
    except OSError as error:
        raise ModelError(f"cannot read: {error.strerror or error}") from error
    except (NotImplementedError, RuntimeError, ValueError, OverflowError) as error:
        raise DamagedFileError(f"an odd archive ({error})") from error


# --- zip ------------------------------------------------------------------------


class _DirectoryFile(io.RawIOBase):
    """A file that gives no more at once than the directory of a zip may take."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.is_open = False  # the directory was read

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        if not self.is_open and size > _MAX_DIRECTORY_BYTES:
            raise DamagedFileError("an archive of more entries than any network has")
        return self._file.read(size)


class _Entries:
    """The entries of torch's archive, by name without the archive's own folder."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self._budget = _Budget(size)
        self.infos: dict[str, zipfile.ZipInfo] = {}
        folders: set[str] = set()
        unpacked = 0
        for info in archive.infolist():
            folder, _, name = info.filename.partition("/")
            folders.add(folder)
            if name in self.infos or len(folders) > 1:
                raise DamagedFileError(
                    f"the entry {info.filename!r} twice, or misplaced"
                )
            self.infos[name] = info
            unpacked += info.file_size
        if unpacked > _FREE_BYTES + _UNPACKED_FILES * size:
            raise DamagedFileError(
                f"a decompression bomb: {size} bytes that unpack to {unpacked}"
            )

    def read(self, name: str) -> bytes:
        """Returns the bytes of an entry."""
        return self._archive.read(self.infos[name])

    def document(
        self, name: str, folder: str, tensor: Callable[[NDArray[Any]], object]
    ) -> object:
        """Interprets the pickle ``name``, whose storages are in ``folder``."""
        if name not in self.infos:
            raise DamagedFileError(f"the archive has no {name}")
        order = self.read("byteorder") if "byteorder" in self.infos else b"little"
        known: dict[tuple[str, str], _Storage] = {}

        def storage(key: str, kind: str, count: int) -> _Storage:
            if (key, kind) not in known:
                entry = self._array(f"{folder}/{key}", _DTYPES[kind], count)
                known[key, kind] = _native(entry, kind, order == b"little")
            return known[key, kind]

        names = _Vocabulary(tensor, self._budget)
        with self._archive.open(self.infos[name]) as file:
            return pickles.load(
                cast("BinaryIO", file), names, lambda id_: _persistent(id_, storage)
            )

    def _array(self, name: str, dtype: np.dtype[Any], count: int) -> NDArray[Any]:
        info = self.infos.get(name)
        there = info.file_size if info else 0
        if there != count * dtype.itemsize:
            raise DamagedFileError(
                f"a storage of {count * dtype.itemsize} bytes whose entry {name} has {there}"
            )
        values = np.empty(count, dtype)
        if info and count:
            with self._archive.open(info) as file:
                _fill(cast("BinaryIO", file), values)
        return values


@contextmanager
def _zip(file: BinaryIO, size: int) -> Iterator[_Entries]:
    guarded = _DirectoryFile(file)
    with zipfile.ZipFile(cast("BinaryIO", guarded)) as archive:
        guarded.is_open = True
        yield _Entries(archive, size)


def _fill(file: BinaryIO, values: NDArray[Any]) -> None:
    """Reads an array's bytes from a file."""
    left = values.view(np.uint8).data
    while left:
        data = file.read(min(len(left), 1 << 20))
        if not data:
            raise DamagedFileError("a storage that ends in the middle")
        left[: len(data)] = data
        left = left[len(data) :]


def _native(values: NDArray[Any], kind: str, is_little: bool) -> _Storage:
    """Puts the bytes into this machine's order; makes a float32 of a bfloat16."""
    if is_little != (sys.byteorder == "little"):
        values.byteswap(inplace=True)
    if kind == "BFloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    elif kind == "Bool":
        values = values.view(np.uint8) != 0
    return _Storage(values, kind)


# --- before torch 1.6 -----------------------------------------------------------


def _read_legacy(
    file: BinaryIO, size: int, tensor: Callable[[NDArray[Any]], object]
) -> object:
    budget = _Budget(size)
    plain = _Vocabulary(tensor, budget)
    try:
        magic = pickles.load(file, plain, _no_storage)
    except ModelError:
        magic = None
    if magic != _LEGACY_MAGIC:
        raise DamagedFileError("no file of torch")
    if pickles.load(file, plain, _no_storage) != _LEGACY_PROTOCOL:
        raise DamagedFileError("a file of an unknown version of torch")
    system = pickles.load(file, plain, _no_storage)
    is_little = not isinstance(system, dict) or system.get("little_endian") is not False
    # The numbers come last. So the document is read twice: to learn which there are, and
    # once they are there.
    start = file.tell()
    stated: dict[str, tuple[str, int]] = {}

    def note(key: str, kind: str, count: int) -> None:
        if stated.setdefault(key, (kind, count)) != (kind, count):
            raise DamagedFileError(f"the storage {key} of two sizes or types")

    pickles.load(file, _Names(), lambda id_: _persistent(id_, note))
    keys = pickles.load(file, plain, _no_storage)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(stated):
        raise DamagedFileError("other storages than its tensors name")
    storages = {
        key: _legacy_storage(file, size, *stated[key], is_little=is_little)
        for key in map(str, keys)
    }
    file.seek(start)
    return pickles.load(
        file, plain, lambda id_: _persistent(id_, lambda key, *_: storages[key])
    )


def _legacy_storage(
    file: BinaryIO, size: int, kind: str, count: int, *, is_little: bool
) -> _Storage:
    stated = int.from_bytes(file.read(8), "little" if is_little else "big")
    dtype = _DTYPES[kind]
    if stated != count or count * dtype.itemsize > size - file.tell():
        raise DamagedFileError(f"a storage of {count} numbers that are not there")
    values = np.empty(count, dtype)
    _fill(file, values)
    return _native(values, kind, is_little)


def _no_storage(_: object) -> object:
    raise DamagedFileError("a storage where there can be none")


# --- what pickles of torch name -------------------------------------------------


def _persistent(id_: object, storage: Callable[[str, str, int], object]) -> object:
    """Returns the storage that a persistent id names."""
    match id_:
        case ("storage", Class(name=name), key, str(device), int(count)):
            pass
        case ("storage", Class(name=name), key, str(device), int(count), None):
            pass
        case _:
            raise DamagedFileError("a persistent id that is no storage")
    found = _STORAGE.fullmatch(name)
    if found is None or found[1] not in _DTYPES:
        raise NotDataError(f"numbers of the type {name}")
    if device == "meta":
        raise NotDataError("a tensor of the device meta, which has no numbers")
    if count < 0:
        raise DamagedFileError("a storage of negative size")
    return storage(str(key), found[1], count)


class _Names:
    """What names stand for, while only storages are looked for."""

    def __call__(self, name: str) -> object:
        if name in _FUNCTIONS or name in _TENSOR_FUNCTIONS:
            return Function(name, _FUNCTIONS.get(name, lambda *_: None))
        if _STORAGE.fullmatch(name) or name.startswith("__torch__."):
            return Class(name)
        if _TORCH_DTYPE.fullmatch(name):
            return name
        raise NotDataError(f"{name}, which is no data")


class _Vocabulary(_Names):
    """What names stand for."""

    def __init__(
        self, tensor: Callable[[NDArray[Any]], object], budget: _Budget
    ) -> None:
        self._tensor = tensor
        self._budget = budget

    def __call__(self, name: str) -> object:
        if name in _TENSOR_FUNCTIONS:
            return Function(name, self._rebuild)
        return super().__call__(name)

    def _rebuild(
        self, storage: object, offset: object, size: object, stride: object, *_: object
    ) -> object:
        if not isinstance(storage, _Storage):
            raise DamagedFileError("a tensor without a storage")
        view = _view(storage.values, offset, _integers(size), _integers(stride))
        self._budget.take(view.nbytes)
        return self._tensor(view)


def _integers(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > _MAX_DIMENSIONS:
        raise DamagedFileError("a tensor whose shape is none")
    if not all(type(value) is int and value >= 0 for value in values):
        raise DamagedFileError(f"a tensor of the shape or stride {values}")
    return values


def _view(
    values: NDArray[Any], offset: object, size: tuple[int, ...], stride: tuple[int, ...]
) -> NDArray[Any]:
    """Returns the part of a storage that a tensor is, sharing its memory."""
    count = math.prod(size)
    if type(offset) is not int or offset < 0 or len(size) != len(stride):
        raise DamagedFileError(f"a tensor of the shape {size} at {offset}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > len(values) or (count and last >= len(values)):
        raise DamagedFileError(
            f"a tensor of the shape {size} outside of its storage of {len(values)} numbers"
        )
    if not count:
        return np.empty(size, values.dtype)
    steps = [step * values.itemsize for step in stride]
    return as_strided(values[offset:], size, steps)


def _number(dtype: object, data: object) -> object:
    """Makes a number of a numpy scalar."""
    if not isinstance(dtype, Record) or not isinstance(data, bytes):
        raise DamagedFileError("a number of numpy that is none")
    order = dtype.state[1] if isinstance(dtype.state, tuple) else "<"
    try:
        return np.frombuffer(data, np.dtype(f"{order}{dtype.attributes['kind']}"))[
            0
        ].item()
    except (TypeError, ValueError, IndexError) as error:
        raise DamagedFileError("a number of numpy that is none") from error


def _dtype(kind: object, *_: object) -> Record:
    if not isinstance(kind, str) or not re.fullmatch(r"[fiub][1248]", kind):
        raise NotDataError(f"the numpy type {kind}")
    found = Record("numpy.dtype")
    found.attributes["kind"] = kind
    return found


def _encoded(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise DamagedFileError("bytes in an odd encoding")
    return text.encode("latin-1")


def _dict(pairs: object = ()) -> dict[object, object]:
    if pairs != ():
        raise NotDataError("a dict made of pairs")
    return {}


def _set(values: object = ()) -> set[object]:
    if not isinstance(values, list | tuple) or not all(
        isinstance(value, str | int) for value in values
    ):
        raise NotDataError("a set of more than texts and numbers")
    return set(values)


def _same(value: object, *_: object) -> object:
    return value


def _device(kind: object, index: object = None) -> str:
    return f"{kind}" if index is None else f"{kind}:{index}"


_TENSOR_FUNCTIONS = frozenset(
    {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"}
)
_FUNCTIONS: dict[str, Callable[..., object]] = {
    "torch._utils._rebuild_parameter": _same,
    "torch.Size": _same,
    "torch.device": _device,
    "torch.jit._pickle.build_boollist": _same,
    "torch.jit._pickle.build_doublelist": _same,
    "torch.jit._pickle.build_intlist": _same,
    "torch.jit._pickle.build_tensorlist": _same,
    "torch.jit._pickle.restore_type_tag": _same,
    "collections.OrderedDict": _dict,
    "builtins.set": _set,
    "__builtin__.set": _set,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
    "_codecs.encode": _encoded,
}
