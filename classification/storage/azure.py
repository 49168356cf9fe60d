"""Images in a container of Azure Blob Storage.

Its images are read as any at a web address are, so that one set of rules says what is
tried again and what is checked: the SDK repeats the reading of a body by itself, after
pauses of its own, and waits for a slow one for ever. Only lists of names are the SDK's.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlunsplit

from classification.runtime.addresses import is_address, shown
from classification.runtime.errors import AccessError, StorageError
from classification.storage.web import IMAGE_PATIENCE, WebStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from urllib.parse import SplitResult

    from classification.storage.digests import Md5
    from classification.storage.retrying import Patience

ACCOUNT_VARIABLE = "CLASSIFICATION_BLOB_STORAGE_ACCOUNT"
CONTAINER_VARIABLE = "CLASSIFICATION_BLOB_CONTAINER"
TOKEN_VARIABLE = "CLASSIFICATION_BLOB_CONTAINER_WRITE_SAS"  # noqa: S105 - its name

# It would log every address that it asks for.
logging.getLogger("azure").setLevel(logging.WARNING)


def container_url(account: str, container: str, token: str = "") -> str:
    """Returns the address of a container.

    Args:
        account: name of the storage account, or the address of its blob service where
            this is not ``https://<account>.blob.core.windows.net``.
        container: name of the container, and maybe folders in it.
        token: a shared access signature (SAS), with or without its ``?``; empty for a
            container that anybody may read.
    """
    site = f"https://{account}.blob.core.windows.net"
    base = account.rstrip("/") if is_address(account) else site
    query = token.removeprefix("?")
    return f"{base}/{container.strip('/')}" + (f"?{query}" if query else "")


def from_environment() -> str | None:
    """Returns the address of the container that the environment names, if it does."""
    account = os.environ.get(ACCOUNT_VARIABLE)
    container = os.environ.get(CONTAINER_VARIABLE)
    if not account or not container:
        return None
    return container_url(account, container, os.environ.get(TOKEN_VARIABLE, ""))


def with_token(url: str) -> str:
    """Returns a container's address with the environment's token, if that is for it."""
    known = from_environment()
    if known is None or "?" in url or shown(known) != url.rstrip("/"):
        return url
    return known


class AzureContainerStore(WebStore):
    """A container, or a folder in it; images are its blobs."""

    def __init__(
        self,
        url: str,
        *,
        patience: Patience = IMAGE_PATIENCE,
        md5: Md5 = "check",
        may_ask: Callable[[str], bool] | None = None,
    ) -> None:
        """Names the container; nothing is asked until something is read.

        Args:
            url: ``https://<account>.blob.core.windows.net/<container>[/<folder>]``, and
                the token behind a ``?``.
            patience: how long an image is waited for, and how often it is tried.
            md5: what to do about the MD5 that the service says of a blob; it knows those
                of all that were uploaded in one piece.
            may_ask: says which addresses may be asked for; all of them by default.
        """
        more = {} if may_ask is None else {"may_ask": may_ask}
        super().__init__(url, patience=patience, md5=md5, **more)

    def names(self, below: str = "") -> Iterator[str]:
        """Yields the names of all images in the order of the alphabet, page by page.

        Args:
            below: folder that they are in, ending with ``/``, and begin below; empty
                for all.

        Raises:
            AccessError: the token does not open the container, or does not let its
                holder list it.
            StorageError: there is no answer, or no such container.
        """
        from azure.core import exceptions  # noqa: PLC0415 - takes a while to load
        from azure.storage.blob import ContainerClient  # noqa: PLC0415 - as above

        container, folder = _split(self._base)
        folder += below
        client = ContainerClient.from_container_url(
            container,
            retry_total=self._patience.tries - 1,
            connection_timeout=self._patience.silence_s,
            read_timeout=self._patience.silence_s,
        )
        try:
            with client:
                for name in client.list_blob_names(name_starts_with=folder):
                    yield name.removeprefix(folder)
        except exceptions.HttpResponseError as error:
            raise _refusal(
                container, error.status_code, getattr(error, "error_code", "")
            ) from None
        except exceptions.AzureError as error:
            raise StorageError(
                f"cannot list {shown(container)}: {type(error).__name__}"
            ) from None


def _refusal(
    container: str, status: int | None, code: object
) -> StorageError | AccessError:
    is_shut = status in {401, 403}
    kind = AccessError if is_shut else StorageError
    hint = "; the token has to allow lists (sp=rl)" if is_shut else ""
    name = getattr(code, "value", code) or ""
    return kind(f"cannot list {shown(container)}: HTTP {status} {name}{hint}")


def _split(url: SplitResult) -> tuple[str, str]:
    """Returns the address of the container itself, and the folder in it.

    The path of an emulator's addresses, which have a number for a host, begins with the
    account.
    """
    parts = url.path.strip("/").split("/")
    count = 2 if _is_number(url.hostname or "") else 1
    container = urlunsplit(url._replace(path="/".join(["", *parts[:count]])))
    folder = "".join(f"{unquote(part)}/" for part in parts[count:])
    return container, folder


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
