"""Makes broken copies of files: of bytes, of JSON, of CSV, and of archives of these."""

from __future__ import annotations

import csv
import gzip
import io
import json
import warnings
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

HUGE = "x" * 200_000
# JSON text to stand in the place of a value.
_JSON_VALUES = (
    *("null", "true", "-1", "0", "1.5", '""', '"x"', "[]", "{}", "[[]]", '{"x": 1}'),
    *(
        "NaN",
        "-Infinity",
        "1e400",
        "-1e400",
        "1e308",
        "9" * 400,
        "9" * 5000,
        "01",
        "+1",
    ),
    *("[" * 5000, "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000),
    *(
        r'"\ud800"',
        r'"\udfff\ud800"',
        r'"\u0000"',
        r'"a\nb\r\u2028"',
        '"\\x"',
        '"\x07"',
    ),
    *('"../../x"', '"/etc/passwd"', '"C:\\\\x"', '"a//b"', '"."', '"\u202ea"', '"1"'),
    *(json.dumps(HUGE), "undefined", "'x'", "", "/* x */ 1", "1,", "1 2", "0x10"),
    *("18446744073709551616", "-9223372036854775809", "1e-400", "2147483648"),
)
# Text to stand in the place of a cell.
_CELLS = (
    *(
        "",
        " ",
        "x",
        "-1",
        "0",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e-999",
        "1_0",
        "\u0661",
    ),
    *(
        '"',
        '""',
        '"a',
        'a"b',
        '"a"b',
        "\0",
        "\r",
        "\n",
        '"\n"',
        '"\r"',
        ",",
        ",,,",
        ";",
    ),
    *("../../x", "/etc/passwd", "C:\\x", "=1+1", "True", "None", "[]", "[" * 500),
    *("[('a', 1)]", "__import__('os')", "(" * 200, "9" * 5000, "\ufeff", "\u2028"),
    *("\u202e", "a|b", "a|", "|", HUGE, f'"{HUGE}', "1" * 400, "0x10", "1.0", "+1"),
)
_BYTES = (
    *(b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\n", b"\r"),
    *(
        b'"',
        b"\\",
        b",",
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b"-",
        b"e9",
        b"\x1a",
        b"\xc0\x80",
    ),
    *(b"null", b"NaN", b"\\u0000", b"\\ud800", b"PK\x03\x04", b"\x1f\x8b\x08"),
)
_HOLE = "\ue000hole\ue000"


def mutate(name: str, data: bytes, random: Random) -> bytes:
    """Returns a broken copy, or one that happens to be sound, of a file.

    Args:
        name: whose ending says what the file is.
        data: the file.
        random: draws what is done.
    """
    if name.endswith((".gz", ".npz")) and random.random() < 0.4:
        return mutate_bytes(data, random)
    if name.endswith(".gz"):
        inner = mutate(name.removesuffix(".gz"), gzip.decompress(data), random)
        return _gzipped(inner, random)
    if name.endswith(".npz"):
        return _mutate_archive(data, random)
    if random.random() < 0.4:
        return mutate_bytes(data, random)
    own = _mutate_json if name.endswith(".json") else _mutate_csv
    return own(data.decode(), random).encode("utf-8", "surrogatepass")


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """Changes a file one to four times, whatever it is."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        change = random.choice(
            (_flip, _cut, _repeat, _insert, _truncate, _swap, _noise)
        )
        data = change(data, random)
    return data


def _span(data: Sequence[Any], random: Random) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    length = random.choice((1, 2, 8, 64, len(data)))
    return start, min(len(data), start + random.randint(1, max(1, length)))


def _flip(data: bytes, random: Random) -> bytes:
    if not data:
        return data
    changed = bytearray(data)
    changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:end] + data[start:end] * random.choice((1, 1, 100)) + data[end:]


def _insert(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data) + 1)
    return (
        data[:start] + random.choice(_BYTES) * random.choice((1, 1, 3)) + data[start:]
    )


def _truncate(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _swap(data: bytes, random: Random) -> bytes:
    a, b, c = sorted(random.randrange(len(data) + 1) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


def _noise(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + random.randbytes(min(64, end - start)) + data[end:]


def _mutate_json(text: str, random: Random) -> str:
    document = json.loads(text)
    places = list(_places(document))
    if not places:
        return random.choice(_JSON_VALUES)
    holder, key = random.choice(places)
    value = holder[key]
    raw = random.choice(_JSON_VALUES)
    indent = random.choice((None, 1))
    match random.randrange(7):
        case 0:
            del holder[key]
            return json.dumps(document, indent=indent)
        case 1 if isinstance(holder, dict):  # a key twice
            raw = f"{json.dumps(value)}, {json.dumps(key)}: {raw}"
        case 2 if isinstance(holder, dict):  # another key
            raw = f"{json.dumps(value)}, {json.dumps(random.choice(_CELLS))}: {raw}"
        case 3:
            other, where = random.choice(places)
            raw = json.dumps(other[where])
        case 4:  # a value of another's type
            raw = json.dumps([value] if random.random() < 0.5 else str(value))
        case _:
            pass
    holder[key] = _HOLE
    shown = json.dumps(document, indent=indent)
    return shown.replace(json.dumps(_HOLE), raw)


def _places(document: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - any JSON
    """Yields the holder and the key of each value."""
    keys: Sequence[Any] = ()
    if isinstance(document, dict):
        keys = list(document)
    elif isinstance(document, list):
        keys = range(len(document))
    for key in keys:
        yield document, key
        yield from _places(document[key])


def _mutate_csv(text: str, random: Random) -> str:
    rows = list(csv.reader(io.StringIO(text)))
    cells = [[_quoted(cell) for cell in row] for row in rows]
    row = random.randrange(len(cells))
    column = random.randrange(len(cells[row]) or 1)
    match random.randrange(9):
        case 0:
            cells[row] = cells[row][:column]
        case 1:
            cells[row].insert(column, random.choice(_CELLS))
        case 2:
            cells = [one[:column] + one[column + 1 :] for one in cells]
        case 3:
            cells = [one[: column + 1] + one[column:] for one in cells]
        case 4:
            cells.insert(row, list(random.choice(cells)))
        case 5:
            cells.append([random.choice(_CELLS) for _ in cells[0]])
        case _:
            cells[row][column : column + 1] = [random.choice(_CELLS)]
    end = random.choice(("\n", "\n", "\n", "\r\n", "\r", "\n\n"))
    comma = random.choice((",", ",", ",", ",", ";", "\t"))
    return end.join(comma.join(one) for one in cells) + end


def _quoted(cell: str) -> str:
    has_marks = any(mark in cell for mark in ',"\r\n')
    return '"' + cell.replace('"', '""') + '"' if has_marks else cell


def _gzipped(data: bytes, random: Random) -> bytes:
    packed = gzip.compress(data, mtime=0)
    match random.randrange(8):
        case 0:
            return packed + random.randbytes(random.choice((1, 8, 600)))
        case 1:
            return packed[: -random.randrange(1, len(packed))]
        case 2:
            return packed + packed
        case _:
            return packed


def _mutate_archive(data: bytes, random: Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    index = random.randrange(len(members))
    name, content = members[index]
    changes: list[Callable[[], list[tuple[str, bytes]]]] = [
        lambda: [*members, (name, content)],
        lambda: members[:index] + members[index + 1 :],
        lambda: [
            *members[:index],
            (random.choice(_CELLS), content),
            *members[index + 1 :],
        ],
        *[partial(_with_content, members, index, random)] * 6,
    ]
    packed = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(packed, "w") as archive:
        warnings.simplefilter("ignore")  # a name that stands twice is meant
        for one, inside in random.choice(changes)():
            archive.writestr(zipfile.ZipInfo(one[:60_000] or "x"), inside)
    return packed.getvalue()


def _with_content(
    members: list[tuple[str, bytes]], index: int, random: Random
) -> list[tuple[str, bytes]]:
    name, content = members[index]
    claims = (
        b"(1000000000000,)",
        b"(-1,)",
        b"()",
        b"(2, 2)",
        b"(0,)",
        b"('a',)",
        b"(1e3,)",
    )
    kinds = (b"'|O'", b"'<f8'", b"'<i8'", b"'|b1'", b"'<c16'", b"'<U9'", b"'V8'", b"[]")
    match random.randrange(4):
        case 0:
            start = content.find(b"(")
            end = content.find(b")", start) + 1
            content = content[:start] + random.choice(claims) + content[end:]
        case 1:
            start = content.find(b"'", content.find(b"descr") + 7)
            end = content.find(b"'", start + 1) + 1
            content = content[:start] + random.choice(kinds) + content[end:]
        case 2:
            content = mutate_bytes(content[:128], random) + content[128:]
        case _:
            content = mutate_bytes(content, random)
    return [*members[:index], (name, content), *members[index + 1 :]]
