"""Images that are named by where they are: a path of this machine, or a web address."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from classification.runtime.addresses import is_address
from classification.storage import ImageStore, download
from classification.storage.local import load_file, stamp_file
from classification.storage.places import Manner
from classification.storage.web import load_url, stamp_url

if TYPE_CHECKING:
    from classification.runtime.contents import Stamp

DEFAULT_MANNER = Manner()


class AnywhereStore(ImageStore):
    """All there is: a name is a path, or an address of http or https."""

    def __init__(self, manner: Manner = DEFAULT_MANNER) -> None:
        """Takes how servers are asked."""
        self._manner = manner

    def load(self, name: str) -> tuple[bytes, Stamp | None]:
        """Return the image's bytes and stamp; see ``ImageStore.load``."""
        if not is_address(name):
            return load_file(Path(name))
        return load_url(name, patience=self._manner.patience, md5=self._manner.md5)

    def stamp(self, name: str) -> Stamp | None:
        """Return the image's stamp; see ``ImageStore.stamp``."""
        if not is_address(name):
            return stamp_file(Path(name))
        return stamp_url(name, patience=self._manner.patience)

    def exists(self, name: str) -> bool:
        """Says whether there is such a file; see ``ImageStore.exists``."""
        if not is_address(name):
            return Path(name).is_file()
        return download.exists(name, patience=self._manner.patience)
