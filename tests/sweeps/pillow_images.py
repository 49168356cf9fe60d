"""Pillow's own test images, out of its source package, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from classification.runtime.registry import cache_folder

_VERSION = "11.3.0"
_SHA256 = "3828ee7586cd0b2091b6209e5ad53e20d0649bbe87164a459d0676e035e8f523"
_INSIDE = f"pillow-{_VERSION}/Tests/images/"
_LIMIT_S = 300


class UnreachableError(Exception):
    """The package registry gave no such package; the text says why."""


def folder() -> Path:
    """Returns a folder that holds the images, fetched by the first call.

    Raises:
        UnreachableError: they are not there, and cannot be fetched.
    """
    kept = cache_folder() / f"pillow-{_VERSION}-test-images"
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as work:
            unpacked = Path(work) / "images"
            _unpack(_download(Path(work)), unpacked)
            unpacked.rename(kept)
    return kept


def _download(work: Path) -> Path:
    words = ["download", "--no-deps", "--no-binary", ":all:", "--quiet", "--no-input"]
    try:
        ended = subprocess.run(  # the words are constants
            [sys.executable, "-m", "pip", *words, f"pillow=={_VERSION}", "-d", work],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreachableError("the package registry did not answer") from error
    found = list(work.glob("*.tar.gz"))
    if len(found) != 1:
        raise UnreachableError(ended.stderr.strip().rpartition("\n")[2])
    if hashlib.sha256(found[0].read_bytes()).hexdigest() != _SHA256:
        raise UnreachableError(f"pillow {_VERSION} is not the package that it was")
    return found[0]


def _unpack(package: Path, target: Path) -> None:
    with tarfile.open(package) as archive:
        for member in archive:
            name = member.name.removeprefix(_INSIDE)
            if not member.isfile() or name == member.name:
                continue
            if ".." in PurePosixPath(name).parts:
                raise UnreachableError(f"{member.name} leads out of the package")
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            content = archive.extractfile(member)
            if content is not None:
                with content, path.open("wb") as file:
                    shutil.copyfileobj(content, file)
