"""Images that are named by where they are: a path of this machine, or a web address."""

from __future__ import annotations

from pathlib import Path

from classification.runtime.addresses import is_address
from classification.storage import download
from classification.storage.local import read_file
from classification.storage.places import Manner
from classification.storage.web import read_url

DEFAULT_MANNER = Manner()


class AnywhereStore:
    """All there is: a name is a path, or an address of http or https."""

    def __init__(self, manner: Manner = DEFAULT_MANNER) -> None:
        """Takes how servers are asked."""
        self._manner = manner

    def read(self, name: str) -> bytes:
        """Returns the bytes of the image; see ``ImageStore.read``."""
        if not is_address(name):
            return read_file(Path(name))
        return read_url(name, patience=self._manner.patience, md5=self._manner.md5)

    def exists(self, name: str) -> bool:
        """Says whether there is such a file; see ``ImageStore.exists``."""
        if not is_address(name):
            return Path(name).is_file()
        return download.exists(name, patience=self._manner.patience)
