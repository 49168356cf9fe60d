"""A data package: the folder, or the zip, that a ``datapackage.json`` lists the tables of.

Each table is a resource::

    {"name": "media", "path": ["media_1.csv", "media_2.csv.gz"],
     "encoding": "utf-8", "dialect": {"delimiter": ";"}}

``path`` is one file or several, each with a header of its own, and below the folder of
``datapackage.json``; ``.gz`` is unpacked. A package is somebody else's, so a path that
leads out of it, also through a link, is refused, and nothing is fetched from the web.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from classification.artifacts import _json, _limits
from classification.megadb.csv_rows import UTF_8, Form
from classification.megadb.sources import Member, open_bytes
from classification.runtime.errors import ArtifactError, ConfigurationError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILENAME = "datapackage.json"

_WITH_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HINTS = (
    f"the delimiter {{}} in the dialect that {FILENAME} states",
    f"the key encoding in {FILENAME}",
)
_TAB_FORMATS = frozenset({"tsv", "tab", "text/tab-separated-values"})


@dataclass(frozen=True, slots=True)
class Resource:
    """A table of a package.

    Attributes:
        name: what the package calls it.
        parts: its files, in order.
        form: how they are written down.
    """

    name: str
    parts: Sequence[Path | Member]
    form: Form


@dataclass(frozen=True, slots=True)
class Package:
    """A package whose ``datapackage.json`` was read.

    Attributes:
        address: of that file, for messages.
        document: what it says.
    """

    address: Path
    document: Mapping[str, Any]
    _archive: Path | None
    _folder: str

    def resource(self, name: str) -> Resource:
        """Returns a table that must be there.

        Raises:
            ArtifactError: it is not, it is written down in a way that is not read, or
                its path leads out of the package.
        """
        with in_file(self.address):
            where, said = _find(self.document.get("resources"), name)
            paths = [
                self._locate(path, at) for at, path in _paths(said.get("path"), where)
            ]
            return Resource(name, paths, _form(said, where))

    def _locate(self, path: str, where: str) -> Path | Member:
        """Returns the file of a path that stays inside of the package."""
        _refuse_outside(path, where)
        if self._archive is not None:
            return Member(self._archive, self._folder + path)
        folder = Path(self._folder)
        try:
            inside = (folder / path).resolve().is_relative_to(folder.resolve())
        except (OSError, RuntimeError) as error:  # links in a circle
            raise ArtifactError(
                f"cannot read {path!r}: {error}", where=where
            ) from error
        if not inside:
            raise ArtifactError(
                f"{path!r} is a link that leads out of the package", where=where
            )
        return folder / path


def open_package(source: Path) -> Package:
    """Reads what is in a package.

    Args:
        source: its folder, its ``datapackage.json``, or a ``.zip`` of the folder.

    Raises:
        ArtifactError: it is none.
    """
    if source.suffix == ".zip":
        return _open_zip(source)
    file = source / FILENAME if source.is_dir() else source
    with in_file(file):
        return Package(file, _json.read_object(file), None, str(file.parent))


def _open_zip(source: Path) -> Package:
    with in_file(source):
        name = _shallowest(source)
    with in_file(source / name):
        with open_bytes(Member(source, name), FILENAME) as file:
            document = _json.parse(_limits.read_all(file))
        if not isinstance(document, dict):
            raise ArtifactError("expected an object at the top level")
    return Package(source / name, document, source, name.removesuffix(FILENAME))


def _shallowest(source: Path) -> str:
    """Returns the name of the one ``datapackage.json`` that stands highest in a zip."""
    try:
        with zipfile.ZipFile(source) as archive:
            names = [
                name
                for name in archive.namelist()
                # Macintosh's archiver adds a hidden twin of each file.
                if name.rpartition("/")[2] == FILENAME
                and not name.startswith("__MACOSX/")
            ]
    except (OSError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ArtifactError(f"cannot be unpacked: {reason}") from error
    names.sort(key=lambda name: name.count("/"))
    depths = [name.count("/") for name in names]
    if not depths or depths.count(depths[0]) > 1:
        raise ArtifactError(f"a zip with one {FILENAME} expected, {len(names)} found")
    return names[0]


def _find(resources: object, name: str) -> tuple[str, dict[str, Any]]:
    """Returns the address of the resource of a name, and what is said of it."""
    if not isinstance(resources, list):
        raise ArtifactError("a list of tables expected", where="resources")
    found = [
        (f"resources[{index}]", one)
        for index, one in enumerate(resources)
        if isinstance(one, dict) and one.get("name") == name
    ]
    if len(found) != 1:
        raise ArtifactError(
            f"one table named {name} expected, {len(found)} found", where="resources"
        )
    return found[0]


def _paths(path: object, where: str) -> list[tuple[str, str]]:
    """Returns the address and the text of each path of a resource."""
    where += ".path"
    if isinstance(path, str):
        return [(where, path)]
    if not isinstance(path, list) or not path:
        raise ArtifactError(
            f"the name of a CSV file beside {FILENAME}, or a list of such names, "
            "expected",
            where=where,
        )
    for index, one in enumerate(path):
        if not isinstance(one, str):
            raise ArtifactError(
                "the name of a file expected", where=f"{where}[{index}]"
            )
    return [(f"{where}[{index}]", one) for index, one in enumerate(path)]


def _refuse_outside(path: str, where: str) -> None:
    if _WITH_SCHEME.match(path):
        raise ArtifactError(
            f"{path!r} is an address on the web, and nothing is fetched; download it "
            "into the package and name the file here",
            where=where,
        )
    is_absolute = path.startswith(("/", "~")) or path[1:2] == ":"
    if not path or is_absolute or "\\" in path or "\0" in path:
        raise ArtifactError(
            f"{path!r} is no path inside of the package, such as tables/media.csv",
            where=where,
        )
    if ".." in path.split("/"):
        raise ArtifactError(f"{path!r} leads out of the package", where=where)


def _form(said: Mapping[str, Any], where: str) -> Form:
    """Returns how a resource is written down."""
    dialect = said.get("dialect") or {}
    if not isinstance(dialect, dict):
        _refuse_form("an object expected", f"{where}.dialect")
    if dialect.get("quoteChar", '"') != '"':
        _refuse_form('only " is read as a quote', f"{where}.dialect.quoteChar")
    if dialect.get("header", True) is not True:
        _refuse_form("a table with a header expected", f"{where}.dialect.header")
    is_tab = bool({said.get("format"), said.get("mediatype")} & _TAB_FORMATS)
    delimiter = dialect.get("delimiter", "\t" if is_tab else ",")
    if not _is_delimiter(delimiter):
        _refuse_form("one character expected", f"{where}.dialect.delimiter")
    encoding = said.get("encoding", UTF_8)
    if not isinstance(encoding, str):
        _refuse_form("the name of an encoding expected", f"{where}.encoding")
    form = Form(delimiter, encoding, *_HINTS)
    try:
        form.codec()
    except (ConfigurationError, ValueError):
        _refuse_form(f"unknown encoding {encoding!r}", f"{where}.encoding")
    return form


def _is_delimiter(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) == 1
        and value.isascii()
        and value not in '"\r\n\0'
    )


def _refuse_form(message: str, where: str) -> NoReturn:
    raise ArtifactError(message, where=where)
