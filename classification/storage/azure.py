"""Images in a container of Azure Blob Storage.

Its images are read as any at a web address are, so that one set of rules says what is
tried again and what is checked: the SDK repeats the reading of a body by itself, after
pauses of its own, and waits for a slow one for ever. Pages of lists are read by the SDK, and
tried again by the same rules.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlunsplit

from classification.runtime.addresses import is_address, shown
from classification.runtime.errors import AccessError, StorageError
from classification.storage import retrying
from classification.storage.retrying import PassingError
from classification.storage.web import WebStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from urllib.parse import SplitResult

    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob import ContainerClient

    from classification.storage.retrying import Deadline

T = TypeVar("T")

ACCOUNT_VARIABLE = "CLASSIFICATION_BLOB_STORAGE_ACCOUNT"
CONTAINER_VARIABLE = "CLASSIFICATION_BLOB_CONTAINER"
TOKEN_VARIABLE = "CLASSIFICATION_BLOB_CONTAINER_WRITE_SAS"  # noqa: S105 - its name

_NO_MORE = ""
_SHUT = frozenset({401, 403})

# It would log every address that it asks for, and errors that are tried again.
logging.getLogger("azure").setLevel(logging.CRITICAL)


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
    """A container, or a folder in it; images are its blobs.

    Its address is ``https://<account>.blob.core.windows.net/<container>[/<folder>]``, with
    the token behind a ``?``. The service says the MD5 of all blobs that were uploaded in one
    piece.
    """

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
        from azure.storage.blob import ContainerClient  # noqa: PLC0415 - slow to load

        container, folder = _split(self._base)
        folder += below
        client = ContainerClient.from_container_url(
            container,
            retry_total=0,
            permit_redirects=False,  # a token, and what may be asked for, end here
            connection_timeout=self._patience.silence_s,
            read_timeout=self._patience.silence_s,
        )
        with client:
            token: str | None = None
            while token != _NO_MORE:
                page = partial(_list_page, client, folder, token)
                names, token = self._insist(container, page)
                yield from (name.removeprefix(folder) for name in names)

    def _insist(self, container: str, attempt: Callable[[Deadline], T]) -> T:
        try:
            return retrying.insist(shown(container), attempt, self._patience)
        except retrying.GaveUpError as error:
            raise StorageError(f"cannot list {shown(container)}: {error}") from None


def _list_page(
    client: ContainerClient, folder: str, token: str | None, _: Deadline
) -> tuple[list[str], str]:
    """Returns the names on a page of a list, and what leads to the next one."""
    from azure.core import exceptions  # noqa: PLC0415 - slow to load

    try:
        pages = client.list_blob_names(name_starts_with=folder).by_page(token)
        names = list(next(pages))
    except exceptions.DecodeError:
        raise StorageError(_no_list(client)) from None
    except exceptions.HttpResponseError as error:
        raise _failure_of(client.url, error) from None
    except exceptions.AzureError as error:
        raise PassingError(type(error).__name__) from None
    except Exception:  # noqa: BLE001 - the SDK falls over what is no list
        raise StorageError(_no_list(client)) from None
    return names, getattr(pages, "continuation_token", None) or _NO_MORE


def _no_list(client: ContainerClient) -> str:
    return f"cannot list {shown(client.url)}: the answer is no list of blobs"


def _failure_of(url: str, error: HttpResponseError) -> Exception:
    status = error.status_code
    if status is None:
        return PassingError("the answer broke off")
    code = getattr(error, "error_code", None)
    reason = f"HTTP {status} {getattr(code, 'value', code) or ''}".strip()
    if status in retrying.TEMPORARY:
        headers: Mapping[str, str] = getattr(error.response, "headers", {})
        return PassingError(reason, wait_s=retrying.asked_wait_s(headers))
    if status in _SHUT:
        hint = "the token has to allow lists (sp=rl)"
        return AccessError(f"cannot list {shown(url)}: {reason}; {hint}")
    return StorageError(f"cannot list {shown(url)}: {reason}")


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
