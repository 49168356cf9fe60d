"""Archives of numpy arrays: read without pickle, written whole.

An archive tells how large its arrays are before they are unpacked; one that claims more
than its format needs is refused, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import tokenize
import warnings
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

MAX_BYTES = 1 << 30  # of all arrays of a file together


def read(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """Reads all arrays, in file order.

    Args:
        path: the file.
        max_bytes: refuse a file whose arrays need more memory than this.

    Raises:
        ArtifactError: the file is missing or damaged, holds anything but arrays of
            numbers, or too much.
    """
    if path.exists() and not path.is_file():
        raise ArtifactError("not a plain file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy repairs headers that nobody writes
            with zipfile.ZipFile(path) as archive:
                _check_sizes(archive, max_bytes)
            with np.load(path, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError as error:
        raise ArtifactError(f"cannot read: {error.strerror}") from error
    except _DAMAGE as error:
        raise ArtifactError(
            f"not an archive of arrays: {_first_line(error)}"
        ) from error


# What zipfile and numpy raise for archives and headers that are damaged or made to harm.
_DAMAGE = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, OSError),
    *(ValueError, KeyError, TypeError, SyntaxError, NotImplementedError),
    *(RuntimeError, MemoryError, OverflowError, tokenize.TokenError, Warning),
)


def _check_sizes(archive: zipfile.ZipFile, max_bytes: int) -> None:
    if sum(info.file_size for info in archive.infolist()) > max_bytes:
        raise ArtifactError(f"its arrays need more than {max_bytes} bytes")
    for info in archive.infolist():
        with archive.open(info) as file:
            _check_header(file, info.file_size)


def _check_header(file: Any, size: int) -> None:  # noqa: ANN401 - zipfile.ZipExtFile
    """Refuses an array that claims to be larger than what is there of it."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError("an array of an unknown version")
    shape, _, dtype = read(file)
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ValueError("an array of something else than numbers")
    count = 1
    for side in shape:
        count *= int(side)
    if not 0 <= count * dtype.itemsize <= size:
        raise ValueError("an array that is cut off")


def _first_line(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text.splitlines()[0]


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays, compressed, in the order given; the same arrays, the same bytes."""
    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            # A fixed time, and no name that numpy.savez would take for a parameter.
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(
                    entry, np.asanyarray(array), allow_pickle=False
                )
