"""Reads pickles as data: an interpreter of the instructions that torch writes.

Python's own unpickler imports what a pickle names, and calls it. Here a name is looked up
in a closed vocabulary that the caller gives, and what comes out is made of numbers, texts,
containers and what that vocabulary makes. Instructions: Python's ``pickletools``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeVar

from classification.runtime.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

MAX_BYTES = 32 << 20  # a pickle names weights; the weights themselves are beside it
MAX_INSTRUCTIONS = 500_000  # a checkpoint of EfficientNet-B7 with its optimiser: 90,000
_MAX_NAME_BYTES = 1000
_MAX_KEY = 1 << 31  # integers of any size could be chosen so that all share one hash

_T = TypeVar("_T")


class DamagedFileError(ModelError):
    """A model file that breaks its format: torn, or made to look like one."""


class NotDataError(ModelError):
    """A model file that holds more than data; the message is what it holds."""


class Function:
    """A function of the vocabulary, which a pickle may call."""

    def __init__(self, name: str, call: Callable[..., object]) -> None:
        """Names the function as the pickle does."""
        self.name = name
        self.call = call


class Class:
    """A class of the vocabulary, whose instances become records."""

    def __init__(self, name: str) -> None:
        """Names the class as the pickle does."""
        self.name = name


class Record:
    """An object of a class that is not known here: its class and its attributes.

    Attributes:
        name: of its class, with its module.
        attributes: value by name.
        state: what was set in the place of attributes, or None.
    """

    __slots__ = ("attributes", "name", "state")

    def __init__(self, name: str) -> None:
        """Starts without attributes."""
        self.name = name
        self.attributes: dict[str, object] = {}
        self.state: object = None


def load(
    file: BinaryIO,
    names: Callable[[str], object],
    persistent: Callable[[object], object],
) -> object:
    """Interprets one pickle; leaves the file where it ends.

    Args:
        file: at the beginning of the pickle.
        names: gives what a qualified name stands for: a ``Function``, a ``Class``, or a
            value; raises ``NotDataError`` for any other.
        persistent: gives the value of a persistent id, such as a storage of torch.

    Raises:
        DamagedFileError: no pickle, or larger than one of weights.
        NotDataError: it holds something that is no data.
    """
    machine = _Machine(file, names, persistent)
    try:
        return machine.run()
    except (IndexError, KeyError, UnicodeError, struct.error) as error:
        raise DamagedFileError("a pickle that makes no sense") from error


class _Machine:
    """The stack, the marks on it, and the values that are referred to again."""

    def __init__(
        self,
        file: BinaryIO,
        names: Callable[[str], object],
        persistent: Callable[[object], object],
    ) -> None:
        self.stack: list[object] = []
        self.names = names
        self.persistent = persistent
        self.memo: dict[int, object] = {}
        self._file = file
        self._below: list[list[object]] = []  # parts of the stack below marks
        self._bytes_left = MAX_BYTES

    def run(self) -> object:
        for _ in range(MAX_INSTRUCTIONS):
            code = self.read(1)[0]
            if code == _STOP:
                return self.stack.pop()
            instruction = _INSTRUCTIONS.get(code)
            if instruction is None:
                raise NotDataError(f"the pickle instruction {bytes([code])!r}")
            instruction(self)
        raise DamagedFileError(
            f"a pickle of more than {MAX_INSTRUCTIONS} instructions, which no weights need"
        )

    def read(self, count: int) -> bytes:
        """Reads exactly so many bytes."""
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise DamagedFileError(
                f"a pickle of more than {MAX_BYTES >> 20} MiB, which no weights need"
            )
        data = self._file.read(count)
        if len(data) < count:
            raise DamagedFileError("a pickle that ends in the middle")
        return data

    def line(self) -> str:
        """Reads up to the end of the line."""
        data = self._file.readline(_MAX_NAME_BYTES)
        self._bytes_left -= len(data)
        if not data.endswith(b"\n"):
            raise DamagedFileError("a name in a pickle that does not end")
        return data[:-1].decode("ascii")

    def number(self, layout: str) -> int:
        """Reads an integer of the given ``struct`` layout."""
        (value,) = struct.unpack(layout, self.read(struct.calcsize(layout)))
        return int(value)

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self, kind: type[_T]) -> _T:
        return _of(kind, self.stack.pop())

    def top(self, kind: type[_T]) -> _T:
        return _of(kind, self.stack[-1])

    def mark(self) -> None:
        self._below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[object]:
        """Returns what was pushed since the last mark, and removes it with the mark."""
        found = self.stack
        self.stack = self._below.pop()
        return found


def _of(kind: type[_T], value: object) -> _T:
    if not isinstance(value, kind):
        raise DamagedFileError(
            f"a pickle with {type(value).__name__} in the place of {kind.__name__}"
        )
    return value


def _key(value: object) -> str | int | None:
    if isinstance(value, int) and abs(value) <= _MAX_KEY:
        return value
    if value is None or isinstance(value, str):
        return value
    raise NotDataError(f"a key of the type {type(value).__name__}")


def _put(items: dict[object, object], pairs: list[object]) -> None:
    for at in range(0, len(pairs), 2):
        items[_key(pairs[at])] = pairs[at + 1]


def _set_items(machine: _Machine) -> None:
    pairs = machine.since_mark()
    _put(machine.top(dict), pairs)


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _put(machine.top(dict), [key, value])


def _new_dict(machine: _Machine) -> None:
    items: dict[object, object] = {}
    _put(items, machine.since_mark())
    machine.push(items)


def _append(machine: _Machine) -> None:
    value = machine.stack.pop()
    machine.top(list).append(value)


def _extend(machine: _Machine) -> None:
    values = machine.since_mark()
    machine.top(list).extend(values)


def _add_items(machine: _Machine) -> None:
    values = machine.since_mark()
    machine.top(set).update(_key(value) for value in values)


def _new_tuple(machine: _Machine, length: int) -> None:
    values = machine.stack[-length:]
    if len(values) < length:
        raise IndexError
    del machine.stack[-length:]
    machine.push(tuple(values))


def _pop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.since_mark()


def _memoize(machine: _Machine, index: int) -> None:
    machine.memo[index] = machine.stack[-1]


def _global(machine: _Machine, module: str, name: str) -> None:
    machine.push(machine.names(f"{module}.{name}"))


def _stack_global(machine: _Machine) -> None:
    name, module = machine.pop(str), machine.pop(str)
    _global(machine, module, name)


def _reduce(machine: _Machine) -> None:
    arguments, called = machine.pop(tuple), machine.stack.pop()
    if not isinstance(called, Function):
        name = called.name if isinstance(called, Class) else type(called).__name__
        raise NotDataError(f"a call of {name}")
    try:
        machine.push(called.call(*arguments))
    except TypeError as error:
        raise DamagedFileError(f"a call of {called.name} that does not fit") from error


def _new_object(machine: _Machine) -> None:
    arguments, kind = machine.pop(tuple), machine.pop(Class)
    if arguments:
        raise NotDataError(f"an object of {kind.name} that takes arguments")
    machine.push(Record(kind.name))


def _build(machine: _Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if isinstance(target, dict):
        return  # an OrderedDict's own attributes: the versions of a network's modules
    record = _of(Record, target)
    if isinstance(state, dict):
        record.attributes.update((str(key), value) for key, value in state.items())
    else:
        record.state = state


def _persistent(machine: _Machine) -> None:
    machine.push(machine.persistent(machine.stack.pop()))


def _text(layout: str) -> Callable[[_Machine], None]:
    def push(machine: _Machine) -> None:
        machine.push(
            machine.read(machine.number(layout)).decode("utf-8", "surrogatepass")
        )

    return push


def _bytes(layout: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.read(machine.number(layout)))


def _protocol_1_text(layout: str) -> Callable[[_Machine], None]:
    """Reads a text of Python 2, and of TorchScript."""

    def push(machine: _Machine) -> None:
        length = machine.number(layout)
        if length < 0:
            raise DamagedFileError("a text of negative length")
        machine.push(machine.read(length).decode("latin-1"))

    return push


def _integer(layout: str) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(machine.number(layout))


def _long(machine: _Machine) -> None:
    machine.push(
        int.from_bytes(machine.read(machine.number("<B")), "little", signed=True)
    )


def _float(machine: _Machine) -> None:
    (value,) = struct.unpack(">d", machine.read(8))
    machine.push(value)


def _constant(value: object) -> Callable[[_Machine], None]:
    return lambda machine: machine.push(value)


_STOP = ord(".")
_INSTRUCTIONS: dict[int, Callable[[_Machine], object]] = {
    ord(code): instruction
    for code, instruction in (
        (b"\x80", lambda machine: machine.read(1)),  # protocol
        (b"\x95", lambda machine: machine.read(8)),  # length of a frame
        (b"(", _Machine.mark),
        (b"0", _pop),
        (b"1", _Machine.since_mark),
        (b"N", _constant(None)),
        (b"\x88", _constant(value=True)),
        (b"\x89", _constant(value=False)),
        (b"J", _integer("<i")),
        (b"K", _integer("<B")),
        (b"M", _integer("<H")),
        (b"\x8a", _long),
        (b"G", _float),
        (b"X", _text("<I")),
        (b"\x8c", _text("<B")),
        (b"U", _protocol_1_text("<B")),
        (b"T", _protocol_1_text("<i")),
        (b"B", _bytes("<I")),
        (b"C", _bytes("<B")),
        (b"]", lambda machine: machine.push([])),
        (b"a", _append),
        (b"e", _extend),
        (b"l", lambda machine: machine.push(machine.since_mark())),
        (b")", _constant(())),
        (b"t", lambda machine: machine.push(tuple(machine.since_mark()))),
        (b"\x85", lambda machine: _new_tuple(machine, 1)),
        (b"\x86", lambda machine: _new_tuple(machine, 2)),
        (b"\x87", lambda machine: _new_tuple(machine, 3)),
        (b"}", lambda machine: machine.push({})),
        (b"d", _new_dict),
        (b"s", _set_item),
        (b"u", _set_items),
        (b"\x8f", lambda machine: machine.push(set())),
        (b"\x90", _add_items),
        (b"h", lambda machine: machine.push(machine.memo[machine.number("<B")])),
        (b"j", lambda machine: machine.push(machine.memo[machine.number("<I")])),
        (b"q", lambda machine: _memoize(machine, machine.number("<B"))),
        (b"r", lambda machine: _memoize(machine, machine.number("<I"))),
        (b"\x94", lambda machine: _memoize(machine, len(machine.memo))),
        (b"c", lambda machine: _global(machine, machine.line(), machine.line())),
        (b"\x93", _stack_global),
        (b"R", _reduce),
        (b"\x81", _new_object),
        (b"b", _build),
        (b"Q", _persistent),
    )
}
