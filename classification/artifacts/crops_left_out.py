"""``classification_ds_left_out.csv``: which images and crops are no row, and why.

Written by ``create_classification_dataset`` beside classification_ds.csv; read by people::

    what,item,reason
    image,caltech/cct_images/b.jpg,no animal is sure enough
    image,idfg/c.JPG,the detector failed: truncated
    crop,idfg/b.JPG___crop00_mdv4.1.jpg,the crop is missing

``what`` is ``image`` where no box of an image could be used, and ``crop`` for one of its
boxes. Rows are in the order of queried_images.json; those that only all crops together
decide about (labels at too few locations, another data set's test locations) come last. A
table without rows below its header says that nothing was left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from classification.artifacts import _csv, left_out

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from classification.artifacts.left_out import LeftOut

FILENAME = "classification_ds_left_out.csv"
IMAGE, CROP = "image", "crop"


def read(path: Path) -> Iterator[LeftOut]:
    """Yields the rows.

    Raises:
        ArtifactError: the file is missing, or no such table.
    """
    return left_out.read(path)


def writing(path: Path) -> AbstractContextManager[Any]:
    """Opens the table, which appears whole when the block ends well, or not at all.

    Returns:
        A context manager, which gives what has ``writerow`` and ``writerows``, for
        ``LeftOut``.
    """
    return _csv.writing(path, left_out.COLUMNS)
