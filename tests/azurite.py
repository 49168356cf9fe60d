"""Azurite, the emulator of Azure Blob Storage, run on this machine for a test."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from azure.storage.blob import ContainerClient, ContentSettings, generate_container_sas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The emulator's only account; name and key are public, the same everywhere.
ACCOUNT = "devstoreaccount1"
KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq"
    "/K1SZFPTOtr/KBHBeksoGMGw=="
)
_READY = re.compile(r"successfully listens on (http://127\.0\.0\.1:\d+)")


def missing() -> str:
    """Says what this machine lacks; empty where nothing."""
    return "" if _program() else "needs azurite (npm install azurite)"


def _program() -> str | None:
    beside = Path(sys.prefix) / "node_modules" / ".bin" / "azurite-blob"
    return shutil.which("azurite-blob") or (str(beside) if beside.exists() else None)


@dataclass(frozen=True)
class Azurite:
    """The running emulator.

    Attributes:
        url: the address of the account.
    """

    url: str

    def container(self, name: str, blobs: Mapping[str, bytes]) -> str:
        """Makes a container, fills it, and returns its address, without a token."""
        url = f"{self.url}/{name}"
        with ContainerClient.from_container_url(url, credential=KEY) as client:
            if not client.exists():
                client.create_container()
            for blob, data in blobs.items():
                kind = ContentSettings(content_type="image/jpeg")
                client.upload_blob(blob, data, overwrite=True, content_settings=kind)
        return url

    def with_token(self, url: str, permission: str = "rl", *, minutes: int = 60) -> str:
        """Returns a container's address with a token; it has expired if minutes are < 0."""
        now = dt.datetime.now(dt.UTC)
        token = generate_container_sas(
            ACCOUNT,
            url.rpartition("/")[2],
            account_key=KEY,
            permission=permission,
            start=now - dt.timedelta(hours=2),
            expiry=now + dt.timedelta(minutes=minutes),
        )
        return f"{url}?{token}"


@contextmanager
def running(folder: Path) -> Iterator[Azurite]:
    """Runs the emulator in the block; what it stores is in ``folder``."""
    words = [_program() or "", "--location", str(folder), "--silent", "--loose"]
    words += ["--blobHost", "127.0.0.1", "--blobPort", "0", "--skipApiVersionCheck"]
    words += ["--disableTelemetry"]
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env=os.environ | {"NODE_NO_WARNINGS": "1"},
    )
    try:
        yield Azurite(f"{_address(process)}/{ACCOUNT}")
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := _READY.search(line):
            return found[1]
    raise RuntimeError(f"azurite ended with {process.wait()}")
