"""Shards: the parts of a long step that run side by side, on one machine or many.

Shard I of N works on the I-th of N runs of items, one after the other in the order of the
step's list, so that the results of all, put one behind the other, are those of one run.
Where items are worked on in batches, a shard begins where a batch begins: what is beside
an item in its batch may change the last bits of its result.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_TEXT = re.compile(r"([0-9]{1,6})/([0-9]{1,6})(?::([1-9][0-9]{0,2}))?")
_MARK = re.compile(r"shard-([0-9]{3,6})-of-([0-9]{3,6})")
_DOUBLE = ".csv.gz"  # the one file ending of ours that has two parts


@dataclass(frozen=True, slots=True)
class Shard:
    """One part of a step.

    Attributes:
        number: which, from 1 to ``of``.
        of: how many there are.
        attempt: how often it has been begun, from 1; a later attempt must not touch the
            journal of an earlier one, which may not be dead after all.
    """

    number: int
    of: int
    attempt: int = 1

    def __str__(self) -> str:
        """Returns it as ``--shard`` takes it, without the attempt."""
        return f"{self.number}/{self.of}"

    @property
    def mark(self) -> str:
        """Returns what tells the names of its files from those of other shards."""
        return f"shard-{self.number:03}-of-{self.of:03}"

    def path(self, whole: Path) -> Path:
        """Returns where it writes what the whole run would write to ``whole``."""
        begin, end = _split(whole.name)
        return whole.with_name(f"{begin}.{self.mark}{end}")

    def span(self, items: int, *, batch_size: int = 1) -> range:
        """Returns the positions of its items among ``items``; may be empty.

        Args:
            items: number of items of all shards.
            batch_size: a batch of so many is not divided.
        """
        batches = -(-items // batch_size)
        first, last = (
            min(items, batches * number // self.of * batch_size)
            for number in (self.number - 1, self.number)
        )
        return range(first, last)


def journal_of(path: Path, shard: Shard | None) -> Path:
    """Returns where the journal of a run, or of an attempt at a shard, is.

    Args:
        path: the file that it writes.
        shard: which shard it is; None for a whole run.
    """
    attempt = shard.attempt if shard else 1
    again = "" if attempt == 1 else f".attempt-{attempt}"
    return path.with_name(f"{path.name}{again}.journal")


def span_of(shard: Shard | None, items: int, *, batch_size: int = 1) -> range:
    """Returns the positions of the items of a shard, or, without one, of all."""
    return range(items) if shard is None else shard.span(items, batch_size=batch_size)


def _split(name: str) -> tuple[str, str]:
    if name.endswith(_DOUBLE):
        return name.removesuffix(_DOUBLE), _DOUBLE
    begin, dot, end = name.rpartition(".")
    return (begin, f".{end}") if begin and dot else (name, "")


def numbers_of(name: str, whole: str) -> tuple[int, int] | None:
    """Returns which shard of how many a file or folder is; None if it is none.

    Args:
        name: of the file.
        whole: name of the file that the shards together make; empty for folders that
            are called by a shard's ``mark`` alone.
    """
    begin, end = _split(whole)
    begin = f"{begin}." if whole else ""
    if not (name.startswith(begin) and name.endswith(end)):
        return None
    found = _MARK.fullmatch(name[len(begin) : len(name) - len(end)])
    return (int(found[1]), int(found[2])) if found else None


def parse(text: str) -> Shard:
    """Parses ``I/N`` or ``I/N:ATTEMPT``, for ``type=``."""
    found = _TEXT.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, such as 3/10")
    number, of = int(found[1]), int(found[2])
    if not 1 <= number <= of:
        raise argparse.ArgumentTypeError(
            f"{text}: shards count from 1 to {of}; where a job array counts from 0, "
            "add 1, as in $((JOB_COMPLETION_INDEX + 1))/10"
        )
    return Shard(number, of, int(found[3] or 1))


def add_shard(parser: argparse._ActionsContainer, files: str) -> None:
    """Declares ``--shard``.

    Args:
        parser: where to declare it.
        files: what the help says of where a shard writes.
    """
    parser.add_argument(
        "--shard",
        type=parse,
        metavar="I/N",
        help=f"work on the I-th of N parts, I from 1 to N; {files} (I/N:K: the K-th "
        "attempt, which leaves the journals of those before alone)",
    )
