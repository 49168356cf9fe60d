"""Reads the wire format of protocol buffers, with as much of a schema as is asked for.

Model files are read as data with it, before an engine sees them; what is not asked for
is passed over without being read. Source of the format:
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Schema: TypeAlias = "Mapping[str, Mapping[int, str]]"
"""The kind of the message in a field, by kind of message and number of the field."""

_LONGEST_TEXT = 1 << 16
_MOST_FIELDS = 2_000_000
_DEEPEST = 100  # the limit of protobuf's own readers
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10  # bytes of 7 bits each hold 64 bits


class DamagedMessageError(ValueError):
    """Bytes that are no message, or one that is larger than any model's."""


class Message:
    """A file that holds one message, open to be read.

    Attributes:
        data: its bytes.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        """Hold the bytes."""
        self.data = data
        self._fields = 0

    def parts(
        self, kind: str, schema: Schema
    ) -> Iterator[tuple[str, dict[int, int | range]]]:
        """Yield each message in the file that the schema names, outer ones first.

        Args:
            kind: what the file as a whole is.
            schema: which fields hold messages.

        Yields:
            Kind of the message; its other fields by number: an int, or where the bytes
            of a text are. Of a field that comes twice the last counts, as for
            protobuf; numbers of fixed length are left out.

        Raises:
            DamagedMessageError: it ends in the middle of a field, has a field of no
                known kind, or more fields or messages inside each other than a model.
        """
        waiting = [(kind, range(len(self.data)), 0)]
        while waiting:
            kind, span, depth = waiting.pop()
            if depth > _DEEPEST:
                raise DamagedMessageError(f"more than {_DEEPEST} messages deep")
            inner = schema.get(kind, {})
            values: dict[int, int | range] = {}
            for number, value in self._walk(span):
                if number in inner and isinstance(value, range):
                    waiting.append((inner[number], value, depth + 1))
                else:
                    values[number] = value
            yield kind, values

    def text(self, value: int | range | None) -> str:
        """Return a field's text, up to 64 KiB; empty where it is absent or no text."""
        if not isinstance(value, range):
            return ""
        stop = min(value.stop, value.start + _LONGEST_TEXT)
        return self.data[value.start : stop].decode(errors="backslashreplace")

    def _walk(self, span: range) -> Iterator[tuple[int, int | range]]:
        at = span.start
        while at < span.stop:
            self._fields += 1
            if self._fields > _MOST_FIELDS:
                raise DamagedMessageError(f"more than {_MOST_FIELDS} fields")
            tag, at = self._varint(at, span.stop)
            number, kind = tag >> 3, tag & 7
            if kind == _VARINT:
                value, at = self._varint(at, span.stop)
                yield number, value
                continue
            if kind == _LENGTH:
                length, at = self._varint(at, span.stop)
                yield number, range(at, at + length)
            elif kind in {_FIXED32, _FIXED64}:
                length = 4 if kind == _FIXED32 else 8
            else:
                raise DamagedMessageError(f"a field of the unknown kind {kind}")
            at += length
        if at > span.stop:
            raise DamagedMessageError("it ends in the middle of a field")

    def _varint(self, at: int, stop: int) -> tuple[int, int]:
        """Return a number of variable length, and where what follows it begins."""
        number = 0
        for shift in range(0, 7 * _LONGEST_VARINT, 7):
            if at >= stop:
                raise DamagedMessageError("it ends in the middle of a field")
            byte = self.data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follows
                return number, at
        raise DamagedMessageError("a number of more than 64 bits")


@contextmanager
def opened(path: Path) -> Iterator[Message]:
    """Open a file that holds one message; its bytes are read as they are asked for.

    Raises:
        DamagedMessageError: it is empty.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if not file.seek(0, 2):
            raise DamagedMessageError("it is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield Message(data)
