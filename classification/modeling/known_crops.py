"""What the crops of a training run hold: noted when it begins, compared ever after.

A run learns from the same crops in each epoch, before and after it was killed. Where a
crop's size and time are what they were, its bytes are taken to be so until they are read;
whoever reads them compares their digest (``check``). The record is
``classification_ds.csv.images.jsonl.gz`` in the run folder (``artifacts.image_contents``).
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import dataset_csv, image_contents
from classification.artifacts.image_contents import Header
from classification.runtime import contents, parallel, progress
from classification.runtime.contents import DIGEST_BYTES, Contents, Stamp
from classification.runtime.errors import ArtifactError, ConfigurationError, ItemError
from classification.storage import changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from classification.dataset.training_set import TrainingSet
    from classification.storage import ImageStore

FILENAME = image_contents.path_beside(Path(dataset_csv.FILENAME)).name

_CHUNK_ROWS = 256
_WAY_OUT = "put back what it was, or begin a new run"


@dataclass(frozen=True)
class KnownCrops:
    """What crops hold, by row of classification_ds.csv.

    Attributes:
        digests: of their bytes, uint8 [N, 16]; zeros for a crop that could not be read.
        sizes: in bytes, int64 [N].
        times: when they were last written, nanoseconds since 1970, int64 [N].
    """

    digests: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    times: NDArray[np.int64]

    @classmethod
    def of(cls, data: TrainingSet) -> KnownCrops:
        """Return room for the crops of a training set, of which none was read yet."""
        rows = data.without_split + sum(map(len, data.splits.values()))
        digests = np.zeros((rows, DIGEST_BYTES), np.uint8)
        return cls(digests, np.zeros(rows, np.int64), np.zeros(rows, np.int64))

    def get(self, row: int) -> Contents | None:
        """Return what the crop of a row holds; None where it could not be read."""
        if not self.digests[row].any():
            return None
        stamp = Stamp(int(self.sizes[row]), int(self.times[row]))
        return Contents(self.digests[row].tobytes().hex(), stamp)

    def set(self, row: int, found: Contents) -> None:
        """Note what the crop of a row holds."""
        self.digests[row] = np.frombuffer(bytes.fromhex(found.digest), np.uint8)
        if found.stamp is not None:
            self.sizes[row], self.times[row] = found.stamp.size, found.stamp.modified


def digest(data: bytes) -> NDArray[np.uint8]:
    """Return the digest of a crop's bytes, uint8 [16]."""
    return np.frombuffer(bytes.fromhex(contents.digest(data)), np.uint8)


def digests_of(found: Sequence[Contents | None]) -> NDArray[np.uint8]:
    """Return the digest of each crop, uint8 [N, 16]; zeros for what is None."""
    zeros = bytes(DIGEST_BYTES)
    digests = [zeros if one is None else bytes.fromhex(one.digest) for one in found]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)


def check(
    names: Sequence[str], found: NDArray[np.uint8], known: NDArray[np.uint8]
) -> None:
    """See that crops hold what they held when the run began.

    Args:
        names: of the crops.
        found: digest of each as it is now, uint8 [N, 16].
        known: as it was, likewise.

    Raises:
        ConfigurationError: one does not.
    """
    for place in np.flatnonzero((found != known).any(axis=1)).tolist():
        raise ConfigurationError(
            f"{names[place]}: changed since the training run began; {_WAY_OUT}"
        )


def _rows(data: TrainingSet) -> Iterator[tuple[int, str]]:
    """Yield row and name of each crop that is in a split, in the order of the rows."""
    return heapq.merge(
        *(zip(map(int, s.numbers), s.paths, strict=True) for s in data.splits.values())
    )


def note(
    data: TrainingSet,
    store: ImageStore,
    *,
    known: KnownCrops | None = None,
    threads: int = 1,
) -> KnownCrops:
    """Return what the crops of all splits hold.

    Args:
        data: the training set.
        store: where the crops are.
        known: what they held before; a crop of the same size and time is not read.
        threads: how many read.
    """
    found = KnownCrops.of(data)
    before = known or found

    def look(some: tuple[tuple[int, str], ...]) -> int:
        for row, name in some:
            try:
                found.set(row, _current(store, name, before.get(row)))
            except ItemError:
                continue  # it stays unread
        return len(some)

    with progress.bar(sum(map(len, data.splits.values())), unit="crops") as shown:
        rows = _rows(data)
        chunks = iter(lambda: tuple(islice(rows, _CHUNK_ROWS)), ())
        for count in parallel.ordered_map(look, chunks, threads=threads):
            shown.update(count)
    return found


def _current(store: ImageStore, name: str, known: Contents | None) -> Contents:
    if known is not None:
        return changes.current(store, name, known)
    data, stamp = store.load(name)
    return Contents(contents.digest(data), stamp)


def write(folder: Path, data: TrainingSet, crops: KnownCrops, *, sha256: str) -> None:
    """Write the record of a run.

    Args:
        folder: of the run.
        data: its training set.
        crops: what they hold.
        sha256: of classification_ds.csv.
    """
    lines = ((name, crops.get(row)) for row, name in _rows(data))
    image_contents.write(folder / FILENAME, Header(sha256=sha256), lines)


def read(folder: Path, data: TrainingSet, *, sha256: str) -> KnownCrops | None:
    """Read the record of a run; None where there is none.

    Raises:
        ArtifactError: it breaks its format, or is of another training set.
    """
    path = folder / FILENAME
    if not path.exists():
        return None
    record = image_contents.read(path)
    known, rows = KnownCrops.of(data), _rows(data)
    for name, found in record.images():
        row = next((row for row, other in rows if other == name), None)
        if row is None or record.header.sha256 != sha256:
            raise ArtifactError(
                f"of another {dataset_csv.FILENAME}", where=f"{path}: {name}"
            )
        known.set(row, found)
    return known


def refuse_changed(data: TrainingSet, known: KnownCrops, found: KnownCrops) -> None:
    """See that crops hold what they held.

    Raises:
        ConfigurationError: some do not; it says how many, and names the first.
    """
    changed = (known.digests != found.digests).any(axis=1)
    count = int(np.count_nonzero(changed))
    if count:
        first = next(name for row, name in _rows(data) if changed[row])
        total = sum(map(len, data.splits.values()))
        raise ConfigurationError(
            f"{count} of {total} crops changed since the training run began, such as "
            f"{first}; {_WAY_OUT}"
        )
