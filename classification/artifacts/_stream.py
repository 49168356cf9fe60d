"""Reads a JSON object of which some keys hold very long lists, a block at a time.

A list is cut where one of its elements ends. Where that is, is guessed first: the
bytes that stand between the first two elements usually stand between any two, and
nowhere else. A guess costs nothing, since the block must be parsed anyway and parses if
if and only if it is a whole number of elements. Where the guess is wrong, brackets are
counted, which is about ten times slower and always right. An element, and the value of
any other key, has a longest length (``_limits``).

``read_pairs`` cuts an object of very many keys in the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import msgspec

from classification.artifacts import _json, _limits
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Small enough for the values of a block to stay in the processor's cache.
CHUNK_BYTES = 256 << 10

_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# A lone quote begins a string that the text at hand does not end.
_TOKEN = re.compile(_STRING.pattern + rb'|[\[\]{},"]', re.DOTALL)
_SEAM_BY_BRACKETS = {
    b"[]": re.compile(rb'\}\s*,\s*\{\s*"[^"\\]*"'),
    b"{}": re.compile(rb'\}\s*,\s*"'),
}
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole elements of the list, without the list's brackets.

    Attributes:
        offset: position in the file, in bytes.
        size: number of bytes.
        first: position in the list of the first of them.
        brackets: what belongs around them: ``[]``, or ``{}`` around pairs.
    """

    offset: int
    size: int
    first: int
    brackets: bytes = b"[]"

    def read(self, file: BinaryIO) -> bytes:
        """Returns the text as a JSON list, or as an object.

        Raises:
            ArtifactError: the file has become shorter since it was cut into blocks.
        """
        file.seek(self.offset)
        text = file.read(self.size)
        if len(text) != self.size:
            raise ArtifactError("it was changed while it was read")
        return _enclose(text, self.brackets)


def _enclose(text: bytes, brackets: bytes) -> bytes:
    return brackets[:1] + text + brackets[1:]


class _Window:
    """The part of a file that is looked at.

    Attributes:
        data: the text at hand.
        at: position in ``data``; all before it is done with.
    """

    def __init__(self, file: BinaryIO, chunk_bytes: int) -> None:
        self.data = b""
        self.at = 0
        self._file = file
        self._chunk_bytes = chunk_bytes
        self._start = 0

    @property
    def offset(self) -> int:
        """Returns the position in the file, in bytes."""
        return self._start + self.at

    def grow(self, where: str = "") -> bool:
        """Reads on, keeping what is not done with; returns False at the end.

        What is kept at most doubles, so that a long value is not looked at too often.

        Args:
            where: the address of the value that is kept.

        Raises:
            ArtifactError: that value is too long.
        """
        rest = self.data[self.at :]
        room = _limits.LONGEST + 1 - len(rest)
        if room <= 0:
            raise _limits.too_long(where)
        piece = self._file.read(min(max(self._chunk_bytes, len(rest)), room))
        self._start, self.at = self.offset, 0
        self.data = rest + piece
        return bool(piece)

    def peek(self) -> bytes:
        """Skips white space and returns the next byte, nothing at the end."""
        while True:
            match = _SPACE.match(self.data, self.at)
            self.at = match.end() if match else self.at
            if self.at < len(self.data) or not self.grow():
                return self.data[self.at : self.at + 1]

    def expect(self, mark: bytes, what: str) -> None:
        """Takes ``mark``, one byte, from the text."""
        if self.peek() != mark:
            self.refuse(what)
        self.at += 1

    def refuse(self, what: str) -> NoReturn:
        """Says that ``what`` was expected here."""
        if not self.peek():
            raise ArtifactError(f"not JSON: the file ends early; {what} expected")
        raise ArtifactError(f"not JSON: {what} expected (byte {self.offset})")


def read_object(
    file: BinaryIO,
    key: str,
    take: Callable[[bytes, int], int],
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[dict[str, Any], list[Block] | None]:
    """Reads an object from its first byte to its last.

    Args:
        file: opened at its beginning.
        key: the key whose value is the long list.
        take: called in order with each block as a JSON list, and the position of its
            first element; returns the number of elements. It lets
            ``msgspec.DecodeError`` through, which says that the text is no JSON, and
            raises ArtifactError where the elements are not as they should be.
        chunk_bytes: how much to read at a time.

    Returns:
        All other keys with their values, and where the list's blocks are; None where
        the key is absent.

    Raises:
        ArtifactError: it is no such object, ends early, or repeats a key.
    """
    others, blocks_by_key = read_lists(file, {key: take}, chunk_bytes=chunk_bytes)
    return others, blocks_by_key.get(key)


def read_lists(
    file: BinaryIO,
    take_by_key: Mapping[str, Callable[[bytes, int], int]],
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[dict[str, Any], dict[str, list[Block]]]:
    """Reads an object with several long lists, from its first byte to its last.

    Args:
        file: opened at its beginning.
        take_by_key: for each key whose value is a long list, what takes its blocks, as
            ``read_object`` says; lists are taken in the order of the file.
        chunk_bytes: how much to read at a time.

    Returns:
        All other keys with their values, and where the blocks of each list are that is
        there.

    Raises:
        ArtifactError: it is no such object, ends early, or repeats a key.
    """
    window = _begin(file, chunk_bytes)
    others: dict[str, Any] = {}
    blocks_by_key: dict[str, list[Block]] = {}
    more = window.peek() != b"}"
    while more:
        name = _read_key(window)
        if name in others or name in blocks_by_key:
            raise ArtifactError("key appears twice", where=name)
        if name in take_by_key:
            blocks_by_key[name] = list(_read_list(window, name, take_by_key[name]))
        else:
            others[name] = _read_value(window, name)
        more = window.peek() == b","
        window.at += more
    window.expect(b"}", "a comma or the object's end")
    if window.peek():
        window.refuse("nothing more")
    return others, blocks_by_key


def read_pairs(
    file: BinaryIO,
    take: Callable[[bytes, int], int],
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> list[Block]:
    """Reads an object of very many keys, from its first byte to its last.

    Args:
        file: opened at its beginning.
        take: as ``read_object`` says, but called with each block as a JSON object.
        chunk_bytes: how much to read at a time.

    Returns:
        Where the blocks are.

    Raises:
        ArtifactError: it is no object, or ends early. That no key stands twice is for
            ``take`` to see.
    """
    window = _begin(file, chunk_bytes)
    blocks: list[Block] = []
    if window.peek() == b"}":
        window.at += 1
    else:
        blocks.extend(_cut(_Cutter(window, "", take, b"{}"), "object"))
    if window.peek():
        window.refuse("nothing more")
    return blocks


def _begin(file: BinaryIO, chunk_bytes: int) -> _Window:
    """Returns a window behind the brace that opens the document."""
    window = _Window(file, chunk_bytes)
    window.grow()
    window.at = len(_BOM) if window.data.startswith(_BOM) else 0
    window.expect(b"{", "an object")
    return window


def _read_key(window: _Window) -> str:
    if window.peek() != b'"':
        window.refuse("a key")
    while not (match := _STRING.match(window.data, window.at)):
        if not window.grow():
            raise ArtifactError("not JSON: the file ends inside a key")
    key: str = _json.parse(match[0])
    window.at = match.end()
    window.expect(b":", "a colon")
    return key


def _read_value(window: _Window, key: str) -> Any:  # noqa: ANN401 - JSON of any shape
    while (end := next(_boundaries(window.data, window.at), None)) is None:
        if not window.grow(key):
            raise ArtifactError("not JSON: the file ends early", where=key)
    text = window.data[window.at : end]
    window.at = end
    try:
        return _json.parse(text)
    except ArtifactError as error:
        where = f"{key}.{error.where}" if error.where else key
        raise ArtifactError(error.message, where=where) from error


def _read_list(
    window: _Window, key: str, take: Callable[[bytes, int], int]
) -> Iterator[Block]:
    if window.peek() != b"[":
        raise ArtifactError("a list expected", where=key)
    window.at += 1
    if window.peek() == b"]":
        window.at += 1
        return
    yield from _cut(_Cutter(window, key, take, b"[]"), "list")


def _cut(cutter: _Cutter, what: str) -> Iterator[Block]:
    """Yields blocks up to the closing bracket, and takes that from the text."""
    window = cutter.window
    while True:
        block, end = cutter.next_block()
        yield block
        mark = window.data[end : end + 1]
        window.at = end
        if mark not in b"," + cutter.brackets[1:]:
            window.refuse(f"a comma or the {what}'s end")
        window.at += 1
        if mark != b",":
            return
        window.grow()


class _Cutter:
    """Cuts a list, or an object, into blocks of whole elements.

    Attributes:
        window: begins with the first element.
        brackets: what stands around the elements.
    """

    def __init__(
        self,
        window: _Window,
        key: str,
        take: Callable[[bytes, int], int],
        brackets: bytes,
    ) -> None:
        self.window = window
        self.brackets = brackets
        self._key = key
        self._take = take
        self._count = 0
        self._seam = b""

    def next_block(self) -> tuple[Block, int]:
        """Returns the elements up to the last at hand that ends, and where it ends.

        There, in the window's data, stands a comma or a closing bracket.
        """
        while True:
            if (end := self._guess()) and (block := self._try(end)):
                return block, end
            ends = list(_boundaries(self.window.data, self.window.at))
            if ends:
                block = self._try(ends[-1])
                if block is None:
                    self._refuse(ends)
                self._learn(ends[0])
                return block, ends[-1]
            where = self._where(self._count, self.window.at)
            if not self.window.grow(where):
                raise ArtifactError("not JSON: the file ends early", where=where)

    def _guess(self) -> int:
        if not self._seam:
            return 0
        window = self.window
        found = window.data.rfind(self._seam, window.at)
        return found + self._seam.index(b",") if found >= 0 else 0

    def _learn(self, end: int) -> None:
        window = self.window
        brace = window.data.rfind(b"}", window.at, end)
        if not self._seam and brace >= 0:
            match = _SEAM_BY_BRACKETS[self.brackets].match(window.data, brace)
            self._seam = match[0] if match else b""

    def _try(self, end: int) -> Block | None:
        """Takes the elements up to ``end``; None if they are no whole elements."""
        window = self.window
        text = _enclose(window.data[window.at : end], self.brackets)
        try:
            if not text.isascii():
                text.decode()  # msgspec does not look into strings that it skips
            count = self._take(text, self._count)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        except RecursionError as error:
            raise ArtifactError("nested too deeply", where=self._key) from error
        if not count:
            return None
        block = Block(window.offset, end - window.at, self._count, self.brackets)
        self._count += count
        return block

    def _refuse(self, ends: list[int]) -> NoReturn:
        """Says which element is no JSON."""
        start = self.window.at
        for number, end in enumerate(ends, self._count):
            text = self.window.data[start:end]
            try:
                if self.brackets == b"{}":
                    text = _enclose(text, self.brackets)
                msgspec.json.decode(text.decode())
            except ValueError as error:  # msgspec's and the decoder's
                where = self._where(number, start)
                raise ArtifactError(f"not JSON: {error}", where=where) from error
            start = end + 1
        raise ArtifactError("not JSON", where=self._key)

    def _where(self, number: int, start: int) -> str:
        """Returns the address of an element, given where it begins in the text."""
        if self.brackets == b"[]":
            return f"{self._key}[{number}]"
        data = self.window.data
        space = _SPACE.match(data, start)
        key = _STRING.match(data, space.end() if space else start)
        try:
            return str(_json.parse(key[0])) if key else ""
        except ArtifactError:
            return ""


def _boundaries(data: bytes, at: int) -> Iterator[int]:
    """Yields where each value ends that begins at ``at`` or follows, within one bracket.

    That is the position of a comma or, at last, of the closing bracket.
    """
    depth = 0
    for match in _TOKEN.finditer(data, at):
        token = match[0]
        if token in {b"{", b"["}:
            depth += 1
        elif token == b"," and not depth:
            yield match.start()
        elif token in {b"}", b"]"}:
            depth -= 1
            if depth < 0:
                yield match.start()
                return
        elif token == b'"':
            return
