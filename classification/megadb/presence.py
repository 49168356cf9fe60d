"""Which images of a metadata store are not where they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from classification.megadb.reading import MetadataStore
    from classification.storage.holdings import Holdings


def find_missing(
    store: MetadataStore,
    wanted: NDArray[np.bool_],
    holdings_of: Callable[[str], Sequence[Holdings]],
) -> NDArray[np.bool_]:
    """Looks for images in the places of their datasets.

    Args:
        store: what there should be.
        wanted: the images to look for, by place, [images].
        holdings_of: given a dataset, returns what its places hold, in the order in which
            they are asked; names in them begin below the dataset.

    Returns:
        Whether each image was looked for in vain, [images].

    Raises:
        StorageError: it cannot be told what a place holds. A store that is out of reach
            has its images all the same.
    """
    missing = np.zeros(len(wanted), np.bool_)
    for dataset in store.datasets_of(wanted):
        holdings = holdings_of(dataset)
        for places, files in store.files(dataset, wanted):
            names = [store.full_name(dataset, file) for file in files]
            missing[places] = _are_missing(
                [name.partition("/")[2] for name in names], holdings
            )
    return missing


def _are_missing(
    names: Sequence[str], holdings: Sequence[Holdings]
) -> NDArray[np.bool_]:
    """Says of each name whether no place holds it; a later one is asked of what is left."""
    missing = np.ones(len(names), np.bool_)
    for place in holdings:
        left = np.flatnonzero(missing)
        if not len(left):
            break
        held = place.hold([names[int(index)] for index in left])
        missing[left] = [not is_held for is_held in held]
    return missing
