"""``crop_contents.npz``: what the crops of a training run were when it began.

Written by ``train_classifier`` into the run folder; read by it when the run goes on. Three
arrays in NumPy's compressed archive, one entry for each row of ``classification_ds.csv``::

    modified   [1700000000000000000, 0]   when it was last written, nanoseconds since 1970
    size       [18231, -1]                in bytes; -1 for a crop that could not be read
    digest     [[95, 12, …], [0, 0, …]]   BLAKE2b of its bytes, 16 of them; else zeros

``modified`` and ``size`` are int64, ``digest`` uint8 of shape [N, 16].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.artifacts import _npz
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FILENAME = "crop_contents.npz"
DIGEST_BYTES = 16

_UNREAD = -1


@dataclass(frozen=True)
class CropContents:
    """What crops were, by row.

    Attributes:
        modified: when each was last written, nanoseconds since 1970, int64 [N].
        size: in bytes, int64 [N]; -1 for one that could not be read.
        digest: of its bytes, uint8 [N, 16]; zeros for one that could not be read.
    """

    modified: NDArray[np.int64]
    size: NDArray[np.int64]
    digest: NDArray[np.uint8]

    @classmethod
    def unread(cls, rows: int) -> CropContents:
        """Returns the contents of crops of which none could be read."""
        return cls(
            np.zeros(rows, np.int64),
            np.full(rows, _UNREAD, np.int64),
            np.zeros((rows, DIGEST_BYTES), np.uint8),
        )

    def __len__(self) -> int:
        """Returns how many crops there are."""
        return len(self.size)


def read(path: Path) -> CropContents:
    """Reads and checks a file.

    Raises:
        ArtifactError: it is missing, no such archive, or its arrays do not fit together.
    """
    with in_file(path):
        arrays = _npz.read(path)
        size = _checked(arrays, "size", np.int64, None)
        return CropContents(
            _checked(arrays, "modified", np.int64, (len(size),)),
            size,
            _checked(arrays, "digest", np.uint8, (len(size), DIGEST_BYTES)),
        )


def write(path: Path, contents: CropContents) -> None:
    """Writes a file whole or not at all."""
    arrays: dict[str, NDArray[Any]] = {
        "modified": contents.modified,
        "size": contents.size,
        "digest": contents.digest,
    }
    _npz.write(path, arrays)


def _checked(
    arrays: dict[str, NDArray[Any]],
    key: str,
    dtype: type[np.generic],
    shape: tuple[int, ...] | None,
) -> NDArray[Any]:
    values = arrays.get(key)
    if values is None:
        raise ArtifactError("no such array", where=key)
    fits = values.ndim == 1 if shape is None else values.shape == shape
    if values.dtype != dtype or not fits:
        raise ArtifactError(
            f"{np.dtype(dtype)} of shape {list(shape or ['N'])} expected", where=key
        )
    return values
