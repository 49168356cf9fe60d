"""Brings crops from their files to a network's input, beside the network's own work.

Threads decode whole batches ahead of the one that is being classified. A batch is made
of the crops at its place in the list, whatever becomes of them: a crop that cannot be
read leaves black in its place, so that a crop's probabilities never depend on which
others failed, or on where a run was taken up again.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from classification.artifacts import crop_record, predictions_info
from classification.artifacts.predictions_info import digest_box
from classification.cropping.images import DEFAULT_MAX_PIXELS, open_image
from classification.modeling import preprocessing
from classification.runtime import parallel
from classification.runtime.contents import Contents, digest
from classification.runtime.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from classification.modeling.preprocessing import Preprocessing
    from classification.runtime.contents import Stamp
    from classification.storage import ImageStore

_AHEAD = 2  # batches per thread


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Crops that are ready for the network.

    Attributes:
        names: of all crops of the batch.
        squares: shape [N, S, S, 3]; black where a crop failed. Only valid until the
            next batch is asked for.
        contents: what each holds; None for one that could not be read.
        boxes: digest of the box that each was cut from, as its own record has it, uint8
            [N, 8]; zeros for one without.
        reason_by_place: why a crop failed, by its place in ``names``.
        note_by_place: how an unusual one was read, by its place.
    """

    names: list[str]
    squares: NDArray[np.uint8]
    contents: list[Contents | None]
    boxes: NDArray[np.uint8]
    reason_by_place: dict[int, str] = field(default_factory=dict)
    note_by_place: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Reads and prepares crops.

    Attributes:
        store: where the crops are.
        preprocessing: what they go through.
        batch_size: most crops in a batch.
        threads: number of batches prepared at once.
        max_pixels: a crop of more pixels fails.
    """

    store: ImageStore
    preprocessing: Preprocessing
    batch_size: int
    threads: int
    max_pixels: int = DEFAULT_MAX_PIXELS

    def load(self, batches: Iterable[list[str]]) -> Iterator[Batch]:
        """Yields a batch for each list of names, in order."""
        side = self.preprocessing.image_size
        # Large arrays are used again and again: a fresh one costs a fault per page.
        free: queue.SimpleQueue[NDArray[np.uint8]] = queue.SimpleQueue()
        for _ in range(self.threads * _AHEAD + 1):
            free.put(np.empty((self.batch_size, side, side, 3), np.uint8))

        def prepare(names: list[str]) -> tuple[Batch, NDArray[np.uint8]]:
            buffer = free.get()
            return self._fill(names, buffer[: len(names)]), buffer

        for batch, buffer in parallel.ordered_map(
            prepare, batches, threads=self.threads, ahead=_AHEAD
        ):
            yield batch
            free.put(buffer)

    def _fill(self, names: list[str], squares: NDArray[np.uint8]) -> Batch:
        contents: list[Contents | None] = [None] * len(names)
        boxes = predictions_info.unknown_boxes(len(names))
        batch = Batch(names=names, squares=squares, contents=contents, boxes=boxes)
        for place, name in enumerate(names):
            try:
                data, stamp = self._load(name)
                contents[place] = Contents(digest(data), stamp)
                if record := crop_record.find(data):
                    boxes[place] = np.frombuffer(digest_box(record.box), np.uint8)
                if note := self._fill_one(data, squares[place]):
                    batch.note_by_place[place] = note
            except ItemError as error:
                squares[place] = 0
                batch.reason_by_place[place] = str(error)
        return batch

    def _load(self, name: str) -> tuple[bytes, Stamp | None]:
        if not name.isprintable() and "\udc80" <= max(name) <= "\udcff":
            raise ItemError("its name is not UTF-8")
        return self.store.load(name)

    def _fill_one(self, data: bytes, out: NDArray[np.uint8]) -> str:
        opened = open_image(data, max_pixels=self.max_pixels)
        out[:] = preprocessing.square(opened.image, self.preprocessing.image_size)
        return opened.note
