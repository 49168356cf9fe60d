"""Names out of files, turned into paths inside a folder, or refused.

A name is relative to a root folder, with ``/``. Whoever writes a file under a name that a
file holds asks ``inside`` right before, and lists the item with the reason if it is refused:

* a name that leads out: absolute, with a ``..`` part, a drive letter, a backslash, a NUL;
* one that no disk takes: a part of more than 255 bytes, a path that is too long;
* a device of Windows, such as ``CON`` or ``nul.jpg``, on every system, so that a run fails
  on the same images wherever it runs, and its output can be copied anywhere;
* where Windows runs, what it has no files of: ``a?.jpg``, or a dot or a space at the end
  of a part, which it would drop without a word;
* a name that a half-written file of ours has;
* one that leads over a link out of the root, over a file as if it were a folder, or to
  what is there and no plain file.

On a disk that does not tell case or Unicode forms apart, a file replaces another whose name
looks the same. ``find_alike`` finds such names, whatever disk there is.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from unicodedata import normalize

from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

# Of Linux, macOS and Windows; an encrypted folder may take fewer.
_LONGEST_PART = 255
# Of Linux and macOS, less the NUL at its end and room for a half-written file's name.
_LONGEST_PATH = (1024 if sys.platform == "darwin" else 4096) - 32

IS_WINDOWS = os.name == "nt"

_DRIVE = re.compile(r"[A-Za-z]:")
_HALF_WRITTEN = re.compile(r"\.ct-.*\.tmp")
_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"]
    + [f"{port}{number}" for port in ("COM", "LPT") for number in "123456789¹²³"]
)
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\x01-\x1f]|[. ]$')

# What a name shows that ``fold`` does more with than to lower its letters.
_LOOSE = ("//", "/.", "./", " /", ".\n", " \n", "\n.", "\n/", "/\n")
# Characters that some disks pass over: soft hyphen, joiners, direction and variant marks.
_PASSED_OVER = re.compile(
    "[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)


def fault(name: str) -> str:
    """Says why a name would leave whatever folder it is joined to, or names no file.

    Returns:
        The end of a sentence that begins with the name; empty for a sound name.
    """
    if not name or name.endswith("/"):
        return "names no file"
    if "\0" in name:
        return "holds a NUL"
    if "\\" in name:
        return "holds a backslash; names use /"
    if name.startswith("/") or _DRIVE.match(name):
        return "is absolute; names are relative to the images folder (run_detector_batch --output_relative_filenames)"
    if ".." in name.split("/"):
        return "leaves its folder"
    return ""


def is_utf8(name: str) -> bool:
    """Says whether a name, or path, is text that all programs can be given."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def writing_fault(name: str) -> str:
    """Says why no file of a name can, or shall, be written, whatever is on the disk.

    Returns:
        As ``fault``, of which it says more.
    """
    if reason := fault(name):
        return reason
    parts = _parts(name)
    if not parts:
        return "names no file"
    return next(filter(None, map(_part_fault, parts)), "")


def _part_fault(part: str) -> str:
    try:
        length = len(part.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return "is no Unicode text"
    if length > _LONGEST_PART:
        return f"has a part of {length} bytes, and disks take {_LONGEST_PART}"
    if part.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        return f"holds {part!r}, which is a device on Windows; rename it"
    if IS_WINDOWS and _NOT_ON_WINDOWS.search(part):
        return f"holds {part!r}, of which Windows has no files"
    if _HALF_WRITTEN.fullmatch(part):
        return "is what a half-written file is called"
    return ""


def inside(root: Path, name: str) -> Path:
    """Returns the path of the file ``name`` inside ``root``, to be written right away.

    Looks at what is there now; who can change folders below ``root`` between this call
    and the writing may write there anyway.

    Args:
        root: a folder; it may be a link, and need not exist.
        name: from a file, so it may be anything.

    Raises:
        ItemError: the name is refused, see above; the text begins with "its name".
    """
    if reason := writing_fault(name):
        raise ItemError(f"its name {reason}")
    parts = _parts(name)
    path = Path(root, *parts)
    if len(os.fsencode(path)) >= _LONGEST_PATH:
        raise ItemError(f"its name makes a path of {len(os.fsencode(path))} bytes")
    _check_on_disk(root, parts)
    return path


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _check_on_disk(root: Path, parts: Sequence[str]) -> None:
    path = os.fspath(root)
    for depth, part in enumerate(parts, start=1):
        path = os.path.join(path, part)  # noqa: PTH118 - a Path costs more than the question
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            return  # nothing is there, or the disk will say to the writer why not
        shown = "/".join(parts[:depth])
        if stat.S_ISLNK(mode):
            mode = _behind_link(root, path, shown)
        if depth < len(parts) and not stat.S_ISDIR(mode):
            raise ItemError(f"its name leads through {shown!r}, which is no folder")
        if depth == len(parts) and not stat.S_ISREG(mode):
            raise ItemError("its name is that of a folder, a pipe or a device")


def _behind_link(root: Path, path: str, shown: str) -> int:
    """Returns the mode of what a link inside the root leads to."""
    try:
        target = Path(path).resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError):  # RuntimeError: a circle of links
        raise ItemError(f"its name leads over {shown!r}, a link to nowhere") from None
    if not target.is_relative_to(root.resolve()):
        raise ItemError(f"its name leads over {shown!r}, a link out of {root}")
    return mode


def fold(name: str) -> str:
    """Returns what is the same for all names that a disk may take for one.

    Case and Unicode form (canonical caseless matching of the Unicode Standard, 3.13)
    do not count, nor empty and ``.`` parts, nor dots and spaces at the end of a part.
    """
    if not name.isascii():
        name = normalize("NFD", normalize("NFD", name).casefold())
        name = _PASSED_OVER.sub("", name)
    parts = (part.rstrip(" .") for part in name.lower().split("/"))
    return "/".join(filter(None, parts))


def fold_all(names: Sequence[str]) -> list[str]:
    """Returns ``fold`` of each name, in some nanoseconds where it is a plain one."""
    joined = "\n".join(("", *names, ""))
    if joined.isascii() and not any(mark in joined for mark in _LOOSE):
        return [name.lower() for name in names]
    return [fold(name) for name in names]


def find_alike(
    names: Iterable[str], suspects: Container[int] | None = None
) -> dict[str, str]:
    """Returns the names that a disk may take for an earlier one, each with that one.

    A name that only stands again is not among them.

    Args:
        names: in the order in which they are to be written.
        suspects: the ``hash(fold(name))`` that several names may have, where that is
            known, so that very many names need no memory; None for any.
    """
    first_by_fold: dict[str, str] = {}
    alike = {}
    for name in names:
        folded = fold(name)
        if suspects is not None and hash(folded) not in suspects:
            continue
        first = first_by_fold.setdefault(folded, name)
        if first != name:
            alike[name] = first
    return alike


def alike_reason(first: str) -> str:
    """Says of a name why it is not written, given the earlier one that it is like."""
    return f"some disks cannot tell its name from {first!r}, which stands before it"
