"""Takes a JSON file out of the archive that it is published in."""

from __future__ import annotations

import shutil
import zipfile
import zlib
from typing import TYPE_CHECKING

from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

_MAGIC = b"PK\x03\x04"


def is_zip(path: Path) -> bool:
    """Says whether a file begins as an archive; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):
        return False


def extract_json(archive: Path, target: Path) -> None:
    """Writes the one JSON file that an archive holds to ``target``.

    Raises:
        ArtifactError: it holds none or several, is damaged, or is encrypted.
        StorageError: the disk is full.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if _is_json(name)]
            if len(names) != 1:
                raise ArtifactError(
                    f"{len(names)} JSON files in it; one expected", where=str(archive)
                )
            with opened.open(names[0]) as source, replacing(target) as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,  # encrypted
    ) as error:
        raise ArtifactError(
            f"not a sound archive: {error}", where=str(archive)
        ) from error
    except OSError as error:
        raise ArtifactError(
            f"cannot read: {error.strerror}", where=str(archive)
        ) from error


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json") and not name.startswith("__MACOSX/")
