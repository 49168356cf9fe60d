"""How long a value in a file may be, checked before it is held in memory.

A value is a text, a number, a line, or one element of a list that is read in blocks. A
small packed file can hold one of gigabytes, which would fill the memory of whoever reads
it whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, TextIO

from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 16 << 20
"""Bytes, or characters, of the longest value that is read."""

# Whole values of JSON, each with the bracket or comma that ends it; whole lines.
_JSON = re.compile(
    rb'(?:\s*+"(?:[^"\\]++|\\.)*+"|[^"\[\]{},:]*+[\[\]{},:])*+', re.DOTALL
)
_LINES = re.compile(rb"(?:[^\n]*+\n)*+")
_OPENS_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*[\[{"]')


def too_long(where: str = "") -> ArtifactError:
    """Return the error for a value that is too long."""
    return ArtifactError(f"a value of more than {LONGEST >> 20} MiB", where=where)


def read_all(file: BinaryIO) -> bytes:
    """Read a file of JSON, or of lines of text, to its end.

    Args:
        file: at its beginning; has ``read`` and no more.

    Raises:
        ArtifactError: a value in it is too long; with its place, and before it is read.
    """
    pieces, rest, passed = [], b"", 0
    while piece := file.read(LONGEST + 1 - len(rest)):
        pieces.append(piece)
        rest += piece
        if len(rest) > LONGEST:
            done = _end(_JSON if _OPENS_JSON.match(pieces[0]) else _LINES, rest)
            if not done:
                raise too_long(f"byte {passed + 1}")
            passed += done
            rest = rest[done:]
    return b"".join(pieces)


def check_json(text: bytes) -> None:
    """Check JSON that is in memory.

    Raises:
        ArtifactError: a value in it is too long, with its place.
    """
    at = 0
    while len(text) - at > LONGEST:
        done = _end(_JSON, memoryview(text)[at : at + LONGEST + 1])
        if not done:
            raise too_long(f"byte {at + 1}")
        at += done


def lines(text: TextIO) -> Iterator[str]:
    """Yield the lines of a text, as a file does.

    Raises:
        ArtifactError: one is too long, with its number.
    """
    number = 0
    while line := text.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise too_long(f"line {number}")
        yield line


def _end(whole: re.Pattern[bytes], text: bytes | memoryview) -> int:
    """Return where the last whole value of a text ends."""
    match = whole.match(text)
    return match.end() if match else 0
