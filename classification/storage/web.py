"""Images behind a web address, such as those of LILA."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from classification.runtime.addresses import shown
from classification.runtime.errors import AbsentError, ItemError
from classification.storage import ImageStore, download
from classification.storage.connection import anywhere
from classification.storage.digests import stated_stamp
from classification.storage.download import DownloadError, MissingError, NoAnswerError
from classification.storage.retrying import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from classification.runtime.contents import Stamp
    from classification.storage.digests import Md5

MAX_BYTES = 1 << 28  # far above any photograph; what a server sends must fit in memory

# What photographs are waited for; a large file has longer.
IMAGE_PATIENCE = Patience(limit_s=600)


class WebStore(ImageStore):
    """A web address; an image's is that and the image's name.

    A query, such as a token, stays at the end of the address, and is never shown.
    """

    def __init__(
        self,
        base_url: str,
        *,
        patience: Patience = IMAGE_PATIENCE,
        md5: Md5 = "check",
        may_ask: Callable[[str], bool] = anywhere,
    ) -> None:
        """Names the address; nothing is asked until something is read.

        Args:
            base_url: of http or https, with or without a slash at the end of its path.
            patience: how long an image is waited for, and how often it is tried.
            md5: what to do about the MD5 that the server says of an image.
            may_ask: says which addresses may be asked for, should the server lead on.
        """
        self._base = urlsplit(base_url)
        self._patience = patience
        self._md5 = md5
        self._may_ask = may_ask

    def load(self, name: str) -> tuple[bytes, Stamp | None]:
        """Return the image's bytes and stamp; see ``ImageStore.load``.

        Raises:
            ItemError: the server says that it does not have the image, or will not give
                it; or the name leaves the address.
            AccessError: the server lets nobody in with this token, or without one.
            StorageError: it did not answer, however often it was asked.
        """
        return load_url(
            self.url_of(name),
            patience=self._patience,
            md5=self._md5,
            may_ask=self._may_ask,
        )

    def stamp(self, name: str) -> Stamp | None:
        """Return the image's stamp; see ``ImageStore.stamp``."""
        url = self.url_of(name)
        return stamp_url(url, patience=self._patience, may_ask=self._may_ask)

    def exists(self, name: str) -> bool:
        """Says whether there is an image of this name; see ``ImageStore.exists``."""
        try:
            url = self.url_of(name)
        except ItemError:
            return False
        return download.exists(url, patience=self._patience, may_ask=self._may_ask)

    def url_of(self, name: str) -> str:
        """Returns the address of the image ``name``.

        Raises:
            ItemError: it would be above the store's.
        """
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise ItemError(
                f"{name!r} names no file below {shown(self._base.geturl())}"
            )
        path = quote(name, safe="/", encoding="utf-8", errors="surrogateescape")
        base = self._base.path.rstrip("/")
        return urlunsplit(self._base._replace(path=f"{base}/{path}"))


def load_url(
    url: str,
    *,
    patience: Patience = IMAGE_PATIENCE,
    md5: Md5 = "check",
    may_ask: Callable[[str], bool] = anywhere,
) -> tuple[bytes, Stamp | None]:
    """Return the bytes and stamp of the image at an address; see ``WebStore.load``."""
    with _failures():
        data, headers = download.load(
            url, max_bytes=MAX_BYTES, patience=patience, md5=md5, may_ask=may_ask
        )
    if not data:
        raise ItemError("empty file")
    return data, stated_stamp(headers)


def stamp_url(
    url: str,
    *,
    patience: Patience = IMAGE_PATIENCE,
    may_ask: Callable[[str], bool] = anywhere,
) -> Stamp | None:
    """Return the stamp of the image at an address; see ``WebStore.stamp``."""
    with _failures():
        return stated_stamp(download.head(url, patience=patience, may_ask=may_ask))


@contextmanager
def _failures() -> Iterator[None]:
    """Turn the failures of a download into those of an image."""
    try:
        yield
    except NoAnswerError:
        raise
    except MissingError as error:
        raise AbsentError("no such file") from error
    except DownloadError as error:
        raise ItemError(str(error)) from error
