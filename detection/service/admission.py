"""What strangers may have a service read: folders and addresses that its owner named.

A path is let in if it lies in one of the folders after every link was followed; an
address if it begins with one of the prefixes, part by part. Whatever could be read in two
ways, by us and by a server, is not let in.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from classification.runtime.addresses import is_address, shown
from classification.runtime.errors import ConfigurationError, PipelineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SCHEME = re.compile(r"[a-z][-+.a-z0-9]*:", re.IGNORECASE)
_PLAIN = re.compile(r"[!-~]+")  # ASCII without space; anything else is to be encoded
_ENCODED_SLASH = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_MOST_TIMES_ENCODED = 4  # each time costs a pass over the address
_PORTS = {"http": 80, "https": 443}


class RefusedError(PipelineError):
    """An input that is not let in; the text says why, and holds no token."""


@dataclass(frozen=True)
class _Address:
    """An address, taken apart as far as it matters where it leads."""

    scheme: str
    host: str
    port: int
    parts: tuple[str, ...]

    def holds(self, other: _Address) -> bool:
        """Says whether ``other`` is this address, or below it."""
        return (
            (self.scheme, self.host, self.port)
            == (other.scheme, other.host, other.port)
        ) and other.parts[: len(self.parts)] == self.parts


@dataclass(frozen=True)
class Admission:
    """What is let in.

    Attributes:
        roots: folders, links followed.
        prefixes: the beginnings of addresses.
    """

    roots: tuple[Path, ...] = ()
    prefixes: tuple[_Address, ...] = ()

    @classmethod
    def of(cls, roots: Iterable[Path], urls: Iterable[str]) -> Admission:
        """Makes it of what the command line says.

        Raises:
            ConfigurationError: a folder that is not there, or an address that is no
                prefix of any.
        """
        return cls(tuple(map(_to_root, roots)), tuple(map(_to_prefix, urls)))

    def resolve(self, path: str) -> Path:
        """Returns the file or folder that a path leads to.

        It need not exist. Who may write into an allowed folder can put another link
        there between this check and the reading; such a person sees those files anyway.

        Raises:
            RefusedError: it is not let in.
        """
        _check_path(path)
        return self._resolved(path, path)

    def check_all(self, images: Sequence[str]) -> None:
        """Checks very many paths and addresses; each folder is looked up once.

        Raises:
            RefusedError: one is not let in; says which.
        """
        folders: dict[str, str] = {}
        for index, image in enumerate(images):
            try:
                if is_address(image):
                    self.check_url(image)
                else:
                    self._check_path_in(image, folders)
            except RefusedError as error:
                raise RefusedError(f"images[{index}]: {error}") from error

    def _check_path_in(self, path: str, folders: dict[str, str]) -> None:
        """Checks the path of a file; ``folders`` holds those that are let in."""
        folder, name = os.path.split(path)
        if folder not in folders:
            _check_path(path)
            folders[folder] = str(self._resolved(folder, path))
        elif ".." in name:
            _check_path(path)
        file = f"{folders[folder]}/{name}"
        if os.path.islink(file):  # noqa: PTH114 - a Path for each would take twice as long
            self._resolved(file, path)

    def check_url(self, url: str) -> None:
        """Checks an address as it was named.

        Raises:
            RefusedError: it is not let in.
        """
        try:
            address = _parse(url)
        except ValueError as error:
            raise RefusedError(f"{shown(url)!r} is not let in: {error}") from error
        if not any(prefix.holds(address) for prefix in self.prefixes):
            raise RefusedError(
                f"{shown(url)!r} is below no --allow-url of this service"
            )

    def check(self, where: str) -> None:
        """Checks a path or an address.

        Raises:
            RefusedError: it is not let in.
        """
        if is_address(where):
            self.check_url(where)
        else:
            self.resolve(where)

    def may_ask(self, url: str) -> bool:
        """Says whether a connection to an address may be opened.

        For each that is about to be: where a redirect leads is not let in by itself, nor
        is a name that stands for a link-local address.
        """
        try:
            self.check_url(url)
        except RefusedError:
            return False
        host = urlsplit(url).hostname or ""
        return not any(map(_is_no_server, _addresses_of(host)))

    def _resolved(self, where: str, path: str) -> Path:
        """Return what ``where``, all or the folder of ``path``, leads to."""
        share = Path(where).drive.lower()
        # To look for a share would log in at a server that a stranger names.
        if not share.startswith("\\\\") or share in {
            root.drive.lower() for root in self.roots
        }:
            found = Path(os.path.realpath(where))
            if any(found.is_relative_to(root) for root in self.roots):
                return found
        raise RefusedError(f"{path!r} is in no --allow-root of this service")


def _to_root(root: Path) -> Path:
    if not root.is_dir():
        raise ConfigurationError(f"no such folder: {root} (--allow-root)")
    return root.resolve()


def _to_prefix(url: str) -> _Address:
    try:
        if "?" in url or "#" in url:
            raise ValueError("it has a query")  # noqa: TRY301 - one place says which flag
        address = _parse(url)
        if _is_no_server(address.host):
            raise ValueError("such an address is never asked")  # noqa: TRY301 - likewise
    except ValueError as error:
        raise ConfigurationError(f"--allow-url {shown(url)!r}: {error}") from error
    return address


def _check_path(path: str) -> None:
    if not Path(path).is_absolute():
        if _SCHEME.match(path):
            raise RefusedError(
                f"{shown(path)!r} is not let in: only absolute paths, and addresses of "
                "http and https, are"
            )
        raise RefusedError(f"{path!r} is not let in: it is no absolute path")
    if ".." in re.split(r"[/\\]", path):
        raise RefusedError(f"{path!r} is not let in: it holds '..'")


def _parse(url: str) -> _Address:
    """Takes an address apart.

    Raises:
        ValueError: it could be read in two ways; says which.
    """
    if not _PLAIN.fullmatch(url) or "\\" in url:
        raise ValueError("it holds a character that has to be percent-encoded")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("it is no address of http or https")
    if "@" in parts.netloc or "%" in parts.netloc:
        raise ValueError("it holds a user, or an encoded host")
    port = parts.port or _PORTS[parts.scheme]
    return _Address(parts.scheme, parts.hostname, port, _path_parts(parts.path))


def _path_parts(path: str) -> tuple[str, ...]:
    for _ in range(_MOST_TIMES_ENCODED + 1):
        if _ENCODED_SLASH.search(path):
            raise ValueError("it holds an encoded slash")
        decoded = unquote(path, errors="surrogateescape")
        if decoded == path:
            break
        path = decoded
    else:
        raise ValueError("it is percent-encoded many times over")
    parts = path.removeprefix("/").removesuffix("/").split("/") if path else [""]
    if parts == [""]:
        return ()
    # Some servers take "..;x" for "..".
    if not {"", ".", ".."}.isdisjoint(part.partition(";")[0] for part in parts):
        raise ValueError("a part of it is empty, '.' or '..'")
    return tuple(parts)


def _addresses_of(host: str) -> list[str]:
    """Returns the addresses of a host; none where it cannot be told, as by a proxy."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


def _is_no_server(host: str) -> bool:
    """Says whether a host is an address that machines give themselves, or no machine's.

    The keys of a cloud's machines are to be had at such an address.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a name
        return False
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or address
    return address.is_link_local or address.is_multicast or address.is_unspecified
