"""What becomes of each image of a metadata store that has a wanted label."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from classification.labels.sampling import sample, too_few_locations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from classification.labels.sampling import Quota


class Outcome(IntEnum):
    """Whether an image is taken, or what took it out, in the order of the filters."""

    NOT_WANTED = 0
    TAKEN = 1
    NO_IMAGE_NAME = 2
    NOT_THERE = 3
    TOO_FEW_LOCATIONS = 4
    NOT_DRAWN = 5


class Outcomes:
    """What became of each image so far, in the order of their names.

    Attributes:
        kind: the wanted dataset label of each image, int32 [images]; -1 for none.
        labels: for each kind, the labels that take it.
        outcome: an ``Outcome`` for each image, uint8 [images].
    """

    def __init__(
        self, kind: NDArray[np.int32], labels: Sequence[tuple[str, ...]]
    ) -> None:
        """Takes every image that has a kind."""
        self.kind = kind
        self.labels = tuple(labels)
        self.outcome = np.where(kind < 0, Outcome.NOT_WANTED, Outcome.TAKEN).astype(
            np.uint8
        )

    @property
    def taken(self) -> NDArray[np.bool_]:
        """Returns whether each image is still taken."""
        return np.equal(self.outcome, Outcome.TAKEN)

    def kinds_taken(self) -> list[int]:
        """Returns the kinds of which images are taken, ascending."""
        return [int(kind) for kind in np.unique(self.kind[self.taken])]

    def count(self, outcome: Outcome) -> int:
        """Returns the number of images with this outcome."""
        return int(np.count_nonzero(self.outcome == outcome))

    def take_out(self, images: NDArray[np.bool_], reason: Outcome) -> None:
        """Takes out those of ``images``, [images], that are still taken."""
        self.outcome[images & self.taken] = reason

    def require_locations(
        self, location: NDArray[np.int32], least: int
    ) -> list[tuple[str, ...]]:
        """Takes out labels that too few locations have.

        Images that have the same several labels are counted as a label of its own.

        Args:
            location: of each image, [images]; the same number in the same place of the
                same dataset, be it one that is not known.
            least: number of locations.

        Returns:
            The labels that were taken out, sorted.
        """
        groups = sorted(set(self.labels))
        number = {labels: index for index, labels in enumerate(groups)}
        group_of_kind = np.array([number[labels] for labels in self.labels], np.int32)
        images = np.flatnonzero(self.taken)
        group = group_of_kind[self.kind[images]]
        sparse = too_few_locations(group, location[images], least)
        self.outcome[images[np.isin(group, sparse)]] = Outcome.TOO_FEW_LOCATIONS
        return [groups[index] for index in sparse]

    def draw(self, quotas: Sequence[Quota], *, seed: int) -> None:
        """Takes out what goes beyond ``max_count``; see ``sampling``."""
        kind = np.where(self.taken, self.kind, np.int32(-1))
        self.take_out(~sample(kind, quotas, seed=seed), Outcome.NOT_DRAWN)

    def images_by_label(self, names: Sequence[str]) -> dict[str, int]:
        """Returns how many images are taken of each of ``names``."""
        per_kind = np.bincount(self.kind[self.taken], minlength=len(self.labels))
        counts = dict.fromkeys(names, 0)
        for labels, images in zip(self.labels, per_kind.tolist(), strict=True):
            for label in labels:
                counts[label] += images
        return counts
