"""What the crops of a training run hold: noted when it begins, compared ever after.

A run learns from the same crops in each epoch, before and after it was killed. Where a
crop's time and size are what they were, its bytes are taken to be so until they are read;
whoever reads them compares their digest (``check``).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts.crop_contents import DIGEST_BYTES, CropContents
from classification.runtime import parallel, progress
from classification.runtime.errors import ConfigurationError, ItemError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from classification.dataset.training_set import SplitRows, TrainingSet
    from classification.storage.local import LocalStore

_CHUNK_ROWS = 256
_WAY_OUT = "put back what it was, or begin a new run"


def digest(data: bytes) -> NDArray[np.uint8]:
    """Returns what tells the bytes of one crop from those of another, uint8 [16]."""
    total = hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
    return np.frombuffer(total, np.uint8)


def check(
    names: Sequence[str], found: NDArray[np.uint8], known: NDArray[np.uint8]
) -> None:
    """Sees that crops hold what they held when the run began.

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


def note(
    data: TrainingSet,
    store: LocalStore,
    *,
    known: CropContents | None = None,
    threads: int = 1,
) -> CropContents:
    """Returns what the crops of all splits hold, by row of classification_ds.csv.

    Args:
        data: the training set.
        store: where the crops are.
        known: what they held before; a crop of the same size and time is not read.
        threads: how many read.
    """
    splits = data.splits.values()
    total = data.without_split + sum(map(len, splits))
    known = known or CropContents.unread(total)
    found = CropContents.unread(total)

    def look(part: tuple[SplitRows, range]) -> int:
        rows, places = part
        for place in places:
            _look(store, rows.paths[place], int(rows.numbers[place]), known, found)
        return len(places)

    with progress.bar(total - data.without_split, unit="crops") as shown:
        parts = ((rows, part) for rows in splits for part in _chunks(len(rows)))
        for count in parallel.ordered_map(look, parts, threads=threads):
            shown.update(count)
    return found


def _chunks(rows: int) -> Iterator[range]:
    for start in range(0, rows, _CHUNK_ROWS):
        yield range(start, min(rows, start + _CHUNK_ROWS))


def _look(
    store: LocalStore, name: str, row: int, known: CropContents, found: CropContents
) -> None:
    """Fills in a row of ``found``; leaves it unread where the crop cannot be read."""
    try:
        stamp = store.stamp(name)
        if stamp == (known.modified[row], known.size[row]):
            found.digest[row] = known.digest[row]
        else:
            found.digest[row] = digest(store.read(name))
    except ItemError:
        return
    found.modified[row], found.size[row] = stamp


def refuse_changed(data: TrainingSet, known: CropContents, found: CropContents) -> None:
    """Sees that crops hold what they held.

    Raises:
        ConfigurationError: some do not; it says how many, and names the first.
    """
    changed = (known.digest != found.digest).any(axis=1)
    count = int(np.count_nonzero(changed))
    if not count:
        return
    first = next(
        rows.paths[int(place)]
        for rows in data.splits.values()
        for place in np.flatnonzero(changed[rows.numbers])[:1]
    )
    total = sum(map(len, data.splits.values()))
    raise ConfigurationError(
        f"{count} of {total} crops changed since the training run began, such as "
        f"{first}; {_WAY_OUT}"
    )
