"""``<shard's file>.shard.json``: which part of a run a file holds; says it is complete.

Written by ``run_detector_batch``, ``run_classifier`` and ``detect_and_crop`` with
``--shard``, as the last thing they do; read by ``merge_shards``, and by the next run of the
same shard, which has nothing to do then::

    {
     "step": "run_detector_batch",
     "shard": 3,
     "of": 10,
     "run": "5f0c…e1",
     "first": 200,
     "items": 100,
     "failed": 1,
     "total": 1000,
     "sha256": "77ab…02"
    }

It stands beside the shard's file, whose name it bears in full
(``detections.shard-003-of-010.json.shard.json``), and holds its SHA-256: beside any other
file of that name it says nothing. ``run`` is a digest of the whole run's inputs and
options, the same in all of its shards. The shard's items are those at positions ``first``
to ``first + items`` of the run's ``total``, counted from 0; ``failed`` of them have a
reason instead of a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from classification.artifacts import _json
from classification.runtime import registry
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from classification.runtime.shards import Shard

SUFFIX = ".shard.json"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file.

    Attributes:
        step: name of the command.
        shard: which shard, from 1.
        of: how many shards there are.
        run: digest of the whole run.
        first: position of its first item, from 0.
        items: number of its items.
        failed: how many of them failed.
        total: number of items of all shards.
        sha256: of the shard's file.
    """

    step: str
    shard: int
    of: int
    run: str
    first: int
    items: int
    failed: int
    total: int
    sha256: str


def path_beside(results: Path) -> Path:
    """Returns where the record of a shard's file is."""
    return results.with_name(results.name + SUFFIX)


def from_dict(document: Mapping[str, Any]) -> Record:
    """Checks the document and returns what it says.

    Raises:
        ArtifactError: a key is missing, unknown or of the wrong type, or the numbers
            contradict each other.
    """
    record = _json.to_struct(document, Record)
    if not 1 <= record.shard <= record.of:
        raise ArtifactError(f"a number from 1 to {record.of} expected", where="shard")
    if record.first < 0 or not 0 <= record.items <= record.total - record.first:
        raise ArtifactError("more items than there are", where="items")
    if not 0 <= record.failed <= record.items:
        raise ArtifactError("more than there are items", where="failed")
    return record


def read(path: Path) -> Record:
    """Reads and checks a record."""
    with in_file(path):
        return from_dict(_json.read_object(path))


def write(path: Path, record: Record) -> None:
    """Writes a record whole or not at all."""
    _json.write_object(path, msgspec.to_builtins(record))


def find(results: Path) -> Record | None:
    """Returns the record of a complete file; None where there is none.

    Raises:
        ArtifactError: what stands beside the file is no record.
    """
    path = path_beside(results)
    if not (path.exists() and results.exists()):
        return None
    record = read(path)
    return record if registry.sha256_of(results) == record.sha256 else None


def find_of_run(results: Path, run: str) -> Record | None:
    """Returns the record of a complete file of one run; None where there is none.

    A record that cannot be read is none.
    """
    try:
        record = find(results)
    except ArtifactError:
        return None
    return record if record is not None and record.run == run else None


def tell(  # noqa: PLR0913 - what there is to say
    results: Path,
    shard: Shard,
    *,
    step: str,
    run: str,
    span: range,
    total: int,
    failed: int,
) -> None:
    """Says beside a shard's file that it is complete, and what part of which run it is.

    Args:
        results: the shard's file.
        shard: which it is.
        step: name of the command.
        run: digest of the whole run.
        span: positions of its items.
        total: number of items of all shards.
        failed: how many of its items failed.
    """
    record = Record(
        step=step,
        shard=shard.number,
        of=shard.of,
        run=run,
        first=span.start,
        items=len(span),
        failed=failed,
        total=total,
        sha256=registry.sha256_of(results),
    )
    write(path_beside(results), record)
