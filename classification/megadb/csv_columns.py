"""Which column of a CSV table holds what, and what a row then says."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from classification.megadb.database import stripped
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from classification.megadb.sources import Member

FILE = "file"
ROLES = (
    *(FILE, "label", "location", "sequence", "frame", "datetime"),
    *("width", "height", "url", "rights"),
)
NO_NUMBER = "no whole number, so taken as unknown"


@dataclass(frozen=True, slots=True)
class Join:
    """A second table.

    Attributes:
        path: where it is; written down as the first table is.
        keys: (column of the first table, column of the second) that must be equal.
    """

    path: Path
    keys: tuple[tuple[str, str], ...]


def parse_columns(text: str) -> dict[str, tuple[str, ...]]:
    """Reads ``file=path,label=genus+species``: the columns of each role.

    Raises:
        ValueError: it is no such text, a role is unknown or stands twice, or no column
            is the file's.
    """
    columns: dict[str, tuple[str, ...]] = {}
    for part in text.split(","):
        role, _, said = (word.strip() for word in part.partition("="))
        names = tuple(name.strip() for name in said.split("+"))
        if role not in ROLES:
            raise ValueError(f"{role!r} is none of {', '.join(ROLES)}")
        if role in columns:
            raise ValueError(f"{role} stands twice; + joins columns")
        if not all(names):
            raise ValueError(f"{part!r} names no column, as file=path does")
        columns[role] = names
    if FILE not in columns:
        raise ValueError("file=COLUMN is missing")
    return columns


def parse_join(text: str) -> Join:
    """Reads ``deployments.csv:deployment_id``, a table and the columns to join it by.

    Several columns are separated by commas; ``site=place`` joins columns of different
    names, the first table's before the second's.

    Raises:
        ValueError: it is no such text.
    """
    path, _, said = text.rpartition(":")
    pairs = [part.partition("=") for part in said.split(",")]
    keys = tuple((one.strip(), (two or one).strip()) for one, _, two in pairs)
    if not path or not all(one and two for one, two in keys):
        raise ValueError(f"{text!r} is not TABLE.csv:COLUMN")
    return Join(Path(path), keys)


@dataclass(frozen=True, slots=True)
class Table:
    """A table, by its header.

    Attributes:
        path: where it is.
        names: of its columns.
        alias: what SQL calls it; its columns are named by their positions.
    """

    path: Path | Member
    names: list[str]
    alias: str

    def place(self, name: str) -> int | None:
        """Returns the position of a column, or None.

        Raises:
            ArtifactError: several columns have the name.
        """
        if self.names.count(name) > 1:
            raise ArtifactError(
                f"the column {name!r} stands twice", where=f"{self.path}: row 1"
            )
        return self.names.index(name) if name in self.names else None

    def cell(self, name: str) -> str:
        """Returns SQL for a cell of a column that is there."""
        return stripped(f'{self.alias}."{self.place(name)}"')

    def places(self, names: Iterable[str]) -> list[int]:
        """Returns the positions of those columns that are there, sorted."""
        places = {self.place(name) for name in names}
        return sorted(place for place in places if place is not None)


def resolve(
    columns: Mapping[str, tuple[str, ...]], found: Sequence[Table]
) -> Mapping[str, tuple[str, ...]]:
    """Returns the columns of each role, all of which are there.

    Args:
        columns: by role; where empty, columns named as roles are.
        found: the tables; the first one's columns come first.

    Raises:
        ArtifactError: a column is missing.
    """
    if not columns:
        columns = {role: (role,) for role in ROLES if role in found[0].names}
        if FILE not in columns:
            raise ArtifactError(
                f"no column is named file; --columns file=... says which it is, of "
                f"{', '.join(found[0].names)}",
                where=f"{found[0].path}: row 1",
            )
    for name in (name for names in columns.values() for name in names):
        if all(table.place(name) is None for table in found):
            refuse_missing(name, found)
    return columns


def refuse_missing(name: str, found: Sequence[Table]) -> NoReturn:
    """Says that no table has a column, and which column may be meant.

    Raises:
        ArtifactError: always.
    """
    names = [column for table in found for column in table.names]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}" if near else f"there are {', '.join(names)}"
    raise ArtifactError(f"no column {name!r}; {hint}", where=f"{found[-1].path}: row 1")


def text_of(role: str, names: Sequence[str], found: Sequence[Table]) -> str:
    """Returns SQL for what a row says in a role; null where it says nothing."""
    cells = [
        next(table.cell(name) for table in found if table.place(name) is not None)
        for name in names
    ]
    between = "/" if role == FILE else " "
    said = (
        cells[0] if len(cells) == 1 else f"concat_ws('{between}', {', '.join(cells)})"
    )
    if role == FILE:
        said = f"regexp_replace(replace({said}, '\\', '/'), '^(\\./+)+', '')"
    return f"nullif({said}, '')"


def whole_number(text: str) -> str:
    """Returns SQL for a whole number, be it written ``3.0``; null for all else.

    Args:
        text: SQL for the text, such as the name of a column.
    """
    digits = f"regexp_extract({text}, '^([+-]?[0-9]+)([.]0*)?$', 1)"
    return f"try_cast({digits} AS INTEGER)"
