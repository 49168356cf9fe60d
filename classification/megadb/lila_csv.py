"""LILA's table of all its images, ``lila_image_urls_and_labels.csv``.

One CSV, mostly zipped, holds all camera-trap datasets of LILA, a row for each label of an
image, and no row for an image without a label::

    dataset_name,url_gcp,url_aws,url_azure,image_id,sequence_id,location_id,frame_num,original_label,scientific_name,common_name,datetime,annotation_level,kingdom,...
    Caltech Camera Traps,https://storage.example/caltech/cct_images/5a1e.jpg,...,Caltech Camera Traps : 5a1e,Caltech Camera Traps : 6f0a,Caltech Camera Traps : 33,2,bobcat,lynx rufus,bobcat,05-08-2012 19:23:36,image,animalia,...

====================  ==============================================================
``dataset_name``      names the dataset, as it stands
``url_gcp``, ...      the same image in three clouds; older releases have one ``url``.
                      The first that is there counts, the chosen cloud's before all
``image_id``          what stands after ``<dataset> : `` is the id that the dataset's
                      own JSON gives the image, and that its file of boxes knows
``sequence_id``,      likewise; ``unknown``, or the dataset's name alone, is none
``location_id``
``frame_num``         place in the sequence; -1 is none
``original_label``    the label; the query of LILA's taxonomy CSV
``datetime``          month first, ``05-08-2012 19:23:36``; and all that ``clock`` reads
``annotation_level``  ``sequence``: the label is the sequence's; else the image's
====================  ==============================================================

The first three that have no default, ``dataset_name``, ``image_id`` and
``original_label``, must be there, and one column of URLs; what else there is, such as the
taxonomy's columns, is passed over. Rows of one image may stand apart: the first says all
but the labels.

**The file of an image** is its URL without the root of its dataset, which no column holds.
Where every URL of a dataset is one folder plus the image's id, with or without an
extension (``KGA_S1/A01/A01_R1_IMAG0001``), that folder is the root: so it is in datasets
whose ids are paths, whatever part of them the table holds. Otherwise it is the longest
folder that all URLs of the dataset share, and a table that somebody has filtered may give
a longer one than LILA's metadata has. A root that is given (``--base-url``) settles it;
LILA's list of datasets states it, as ``image_base_url_gcp``. URLs are taken as they stand,
for LILA writes file names into them unescaped. An image without any URL has its id as its
file.
"""

from __future__ import annotations

import difflib
import re
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import TYPE_CHECKING, NoReturn

from classification.artifacts import layout
from classification.megadb import clock, csv_rows, database
from classification.megadb import staging as tables
from classification.megadb.csv_columns import (
    NO_NUMBER,
    Table,
    refuse_missing,
    whole_number,
)
from classification.megadb.csv_rows import NUMBER
from classification.megadb.database import quoted, repeats
from classification.runtime import parallel
from classification.runtime.errors import ArtifactError, ConfigurationError, in_file
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

    from classification.megadb.csv_rows import Block
    from classification.megadb.staging import Staging

NO_DATASET = "no dataset_name"
NO_ID = "no image_id"
OTHER_DATASET = "its image_id is of another dataset than its dataset_name"
NOT_BELOW = "its URL does not begin with --base-url; --cloud chooses among its URLs"

_DATASET, _ID, _LABEL = "dataset_name", "image_id", "original_label"
NEEDED = (_DATASET, _ID, _LABEL)
# Column of the table by what a row says here.
_COLUMNS = {
    "dataset": _DATASET,
    "id": _ID,
    "label": _LABEL,
    "sequence": "sequence_id",
    "location": "location_id",
    "frame": "frame_num",
    "datetime": "datetime",
    "level": "annotation_level",
}
_BETWEEN = " : "
_FORM = csv_rows.Form()
_BATCH_ROWS = 100_000
# A dataset is staged in a database of its own while this one is open.
_MEMORY_MB = 700
_HOST = re.compile(r"[^:/?#]+://[^/]+/")
_SHOWN = 12


class Cloud(StrEnum):
    """Where LILA keeps its images."""

    GCP = "gcp"
    AWS = "aws"
    AZURE = "azure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the table is read.

    Attributes:
        dataset: the one to read, in any case; None for all.
        cloud: whose URLs count where there are several.
        root: what the URL of every image begins with, before its file; None: found.
    """

    dataset: str | None = None
    cloud: Cloud = Cloud.GCP
    root: str | None = None


@dataclass(frozen=True, slots=True)
class LilaTable:
    """The table, read into a database.

    Attributes:
        connection: where it is.
        roots: by dataset, in the order of the table: what URLs begin with before the
            file, by the column of ``lila_rows``; empty where they share no host.
    """

    connection: duckdb.DuckDBPyConnection
    roots: dict[str, dict[str, str]]

    @property
    def datasets(self) -> tuple[str, ...]:
        """Returns the names of the datasets that were read."""
        return tuple(self.roots)

    def base_url(self, dataset: str) -> str | None:
        """Returns what the files of a dataset are appended to, or None."""
        return next(iter(self.roots[dataset].values()), "") or None

    def stage(self, dataset: str, staging: Staging) -> None:
        """Stages the images and labels of a dataset.

        Rows that name no dataset, or one of which no row can be used, are listed with
        the first dataset.
        """
        self.connection.execute(
            "CREATE OR REPLACE VIEW lila_one AS SELECT * FROM lila_rows "
            f"WHERE dataset = {quoted(dataset)} AND reason IS NULL"
        )
        self._find_later_rows()
        self._copy(staging, tables.IMAGES, self._images(dataset))
        self._copy(staging, tables.LABELS, _LABELS)
        self._copy(staging, tables.SKIPPED, self._skipped(dataset))
        for said, unread, reason in _CELLS:
            self._copy(
                staging,
                tables.SKIPPED,
                f"SELECT 'row ' || {NUMBER} || ', column {_COLUMNS[said]}: ' || {said} "
                f"AS item, {quoted(reason)} AS reason FROM lila_one "
                f"ANTI JOIN lila_later USING ({NUMBER}) "
                f"WHERE {said} IS NOT NULL AND {unread} IS NULL",
            )

    def _find_later_rows(self) -> None:
        """Makes ``lila_later``: the rows of an image of which an earlier row has told."""
        self.connection.execute(
            "CREATE OR REPLACE TABLE lila_later AS "
            + repeats("lila_one", "id", row=NUMBER)
        )

    def _images(self, dataset: str) -> str:
        roots = self.roots[dataset]
        url = f"coalesce({', '.join(['NULL', *roots])})"
        files = " ".join(
            f"WHEN {cell} IS NOT NULL THEN {_file(_PATH.format(cell), root)}"
            for cell, root in roots.items()
        )
        return (
            f"SELECT {NUMBER} AS row, id, "
            f"CASE WHEN FALSE THEN NULL {files} ELSE id END AS file, "
            f"{_without_prefix('location')} AS location, "
            f"{_without_prefix('sequence')} AS sequence, "
            f"CASE WHEN {_FRAME} >= 0 THEN {_FRAME} END AS frame, "
            f"{_MOMENT} AS datetime, {url} AS url, "
            f"CASE WHEN file IS NULL THEN {quoted(NOT_BELOW)} END AS problem FROM lila_one "
            f"ANTI JOIN lila_later USING ({NUMBER})"
        )

    def _skipped(self, dataset: str) -> str:
        whose = f"dataset = {quoted(dataset)}"
        if dataset == self.datasets[0]:
            names = ", ".join(map(quoted, self.datasets))
            whose += f" OR dataset IS NULL OR dataset NOT IN ({names})"
        return (
            f"SELECT 'row ' || {NUMBER} AS item, reason FROM lila_rows "
            f"WHERE reason IS NOT NULL AND ({whose})"
        )

    def _copy(self, staging: Staging, table: str, query: str) -> None:
        for batch in self.connection.sql(query).to_arrow_reader(_BATCH_ROWS):
            staging.add(table, batch)


def _without_prefix(said: str) -> str:
    """Returns SQL for a name without its dataset's before it; null for no name."""
    name = (
        f"CASE WHEN {said} = dataset THEN NULL "
        f"WHEN starts_with({said}, dataset || '{_BETWEEN}') "
        f"THEN trim({said}[len(dataset) + {len(_BETWEEN) + 1}:]) ELSE {said} END"
    )
    return f"(CASE WHEN lower({name}) NOT IN ('', 'unknown') THEN {name} END)"


def _file(path: str, root: str) -> str:
    """Returns SQL for a URL's path behind a root, or behind its host."""
    if not root:
        return f"regexp_replace({path}, '{_HOST.pattern}', '')"
    return f"CASE WHEN starts_with({path}, {quoted(root)}) THEN {path}[{len(root) + 1}:] END"


# Whatever stands behind a ? is no part of a name, and may be a token.
_PATH = "split_part({}, '?', 1)"
_FRAME = whole_number("frame")
_MOMENT = (
    "CASE WHEN datetime SIMILAR TO '[0-9]{2}-[0-9]{2}-[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}' "
    "THEN try_strptime(datetime, '%m-%d-%Y %H:%M:%S') "
    f"ELSE {clock.WALL_CLOCK}(datetime) END"
)
# What is said, what is read of it, and what it is called where that is nothing.
_CELLS = (
    ("frame", _FRAME, NO_NUMBER),
    ("datetime", f"({_MOMENT})", clock.UNREADABLE),
)
_LABELS = (
    f"SELECT {NUMBER} AS row, id AS image_id, label, "
    f"CASE WHEN lower(level) = 'sequence' THEN '{tables.SEQUENCE_LEVEL}' "
    f"ELSE '{tables.IMAGE_LEVEL}' END AS level FROM lila_one WHERE label IS NOT NULL"
)


@contextmanager
def open_table(
    source: Path, *, work_dir: Path, options: Options
) -> Iterator[LilaTable]:
    """Reads the table once, to stage its datasets inside the block.

    Args:
        source: the table; ``.gz``, and a ``.zip`` of one ``.csv``, are unpacked.
        work_dir: folder for what does not fit into memory; gone after the block.
        options: what to read of it.

    Raises:
        ArtifactError: it is no such table, or names a dataset as no folder can be.
        ConfigurationError: it holds no dataset of the wanted name.
    """
    with in_file(source):
        table = Table(source, csv_rows.header(source, _FORM), "main")
    urls = _url_columns(table, options.cloud)
    with database.connect(work_dir, memory_mb=_MEMORY_MB, on_disk=True) as connection:
        clock.define(connection)
        with in_file(source):
            names = _load(connection, table, urls, options.dataset)
            found = _datasets(connection)
        if not found:
            _refuse_nothing(source, options.dataset, names, _why(connection))
        roots = {dataset: _roots(connection, dataset, urls) for dataset in found}
        if options.root is not None:
            for found_roots in roots.values():
                found_roots.update(dict.fromkeys(found_roots, options.root))
        yield LilaTable(connection, roots)


def _url_columns(table: Table, cloud: Cloud) -> list[str]:
    """Returns the columns of URLs, the best first.

    Raises:
        ArtifactError: there is none, or another column is missing.
    """
    for name in NEEDED:
        if table.place(name) is None:
            refuse_missing(name, [table])
    clouds = [cloud, *(other for other in Cloud if other != cloud)]
    columns = [*(f"url_{name}" for name in clouds), "url"]
    there = [name for name in columns if table.place(name) is not None]
    if not there:
        refuse_missing(columns[0], [table])
    return there


def _load(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    urls: Sequence[str],
    wanted: str | None,
) -> set[str]:
    """Makes ``lila_rows``; returns the names of all datasets, wanted or not."""
    columns = [*_COLUMNS, *_cells_of(urls)]
    connection.execute(
        f"CREATE TABLE lila_rows ({NUMBER} BIGINT, "
        f"{', '.join(f'{name} VARCHAR' for name in columns)}, reason VARCHAR)"
    )
    names: set[str] = set()
    query = f"INSERT INTO lila_rows BY NAME {_said(table, urls)}"
    places = table.places([*_COLUMNS.values(), *urls])
    blocks = csv_rows.blocks(table.path, _FORM, table.names, places)
    # Not in one transaction: its rows stay in memory, beyond what DuckDB is allowed.
    for block in parallel.ahead(blocks):
        names |= _insert(connection, query, block, table, wanted)
    return names


def _cells_of(urls: Sequence[str]) -> list[str]:
    """Returns what the columns of URLs are called in ``lila_rows``."""
    return [f"url{place}" for place in range(len(urls))]


def _insert(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    block: Block,
    table: Table,
    wanted: str | None,
) -> set[str]:
    """Inserts the rows of the wanted dataset, or all; returns the names there are."""
    import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it
    from pyarrow import compute  # noqa: PLC0415

    cells = block.rows[str(table.place(_DATASET))]
    names = {str(name): normal(str(name)) for name in cells.unique().to_pylist()}
    rows = block.rows
    if wanted is not None:
        kept = [name for name, plain in names.items() if plain in {"", normal(wanted)}]
        rows = rows.filter(compute.is_in(cells, pa.array(kept, pa.string())))
    database.insert(connection, query, rows)
    if block.ragged:
        reason = f"{len(table.names)} cells expected, as the header has"
        ragged = pa.table(
            {NUMBER: block.ragged, "reason": [reason] * len(block.ragged)}
        )
        database.insert(
            connection, "INSERT INTO lila_rows BY NAME SELECT * FROM incoming", ragged
        )
    return {name.strip() for name in names if name.strip()}


def _said(table: Table, urls: Sequence[str]) -> str:
    """Returns SQL for what the rows of a block say, and what is wrong with each."""
    cells = [
        f"{table.cell(name)} AS {said}"
        for said, name in _COLUMNS.items()
        if table.place(name) is not None
    ]
    cells += [
        f"CASE WHEN contains({table.cell(name)}, '://') THEN {table.cell(name)} END "
        f"AS {cell}"
        for cell, name in zip(_cells_of(urls), urls, strict=True)
    ]
    return f"""
        SELECT * EXCLUDE (is_prefixed) REPLACE (CASE WHEN is_prefixed
            THEN trim(id[len(dataset) + {len(_BETWEEN) + 1}:]) ELSE id END AS id), CASE
            WHEN dataset IS NULL THEN {quoted(NO_DATASET)}
            WHEN id IS NULL OR id = dataset || ' :' THEN {quoted(NO_ID)}
            WHEN contains(id, '{_BETWEEN}') AND NOT is_prefixed
            THEN {quoted(OTHER_DATASET)} END AS reason
        FROM (SELECT *, starts_with(id, dataset || '{_BETWEEN}') AS is_prefixed
            FROM (SELECT main.{NUMBER}, {", ".join(cells)} FROM incoming AS main))
        """


def _datasets(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Returns the datasets of which some row can be used, in the order of the table.

    Raises:
        ArtifactError: one is named as no folder can be, or as another in another case.
    """
    found = connection.execute(
        f"SELECT dataset, min({NUMBER}) AS first FROM lila_rows "
        "WHERE reason IS NULL GROUP BY dataset ORDER BY first"
    ).fetchall()
    known: dict[str, str] = {}
    for dataset, row in found:
        where = f"row {row}, column {_DATASET}"
        layout.checked_dataset(dataset, where=where)
        first = known.setdefault(normal(dataset), dataset)
        if first != dataset:
            raise ArtifactError(
                f"{dataset!r} differs from {first!r} in case only", where=where
            )
    return [dataset for dataset, _ in found]


def _why(connection: duckdb.DuckDBPyConnection) -> str:
    """Returns why most rows cannot be used, and how many; empty for no rows."""
    rows = connection.execute(
        "SELECT reason, count(*) AS number FROM lila_rows GROUP BY reason "
        "ORDER BY number DESC, reason LIMIT 1"
    ).fetchall()
    return "".join(f"{number} x {reason}" for reason, number in rows)


def _refuse_nothing(
    source: Path, wanted: str | None, names: set[str], why: str
) -> NoReturn:
    """Says that there is no dataset, or none of a name, and which may be meant.

    Raises:
        ConfigurationError: always.
    """
    plain = {normal(name): name for name in sorted(names)}
    if wanted is None or normal(wanted) in plain or not names:
        raise ConfigurationError(f"{source}: no images; {why or 'no rows'}")
    near = difflib.get_close_matches(normal(wanted), plain, n=1, cutoff=0.5)
    hint = f"did you mean {plain[near[0]]!r}" if near else f"there are {_list(names)}"
    raise ConfigurationError(f"{source}: no dataset {wanted!r}; {hint}")


def _list(names: set[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (", ..." if len(names) > _SHOWN else "")


def _roots(
    connection: duckdb.DuckDBPyConnection, dataset: str, urls: Sequence[str]
) -> dict[str, str]:
    """Returns what the URLs of each column begin with, before the file."""
    roots = {}
    for cell in _cells_of(urls):
        path = _PATH.format(cell)
        stem = f"regexp_replace({path}, '[.][^./]*$', '')"
        by_id = (
            f"CASE WHEN ends_with({path}, '/' || id) THEN {path}[:-len(id) - 1] "
            f"WHEN ends_with({stem}, '/' || id) THEN {stem}[:-len(id) - 1] END"
        )
        [(low, high, first, last, is_by_id)] = connection.execute(
            f"SELECT min({path}), max({path}), min({by_id}), max({by_id}), "
            f"count({by_id}) = count({path}) FROM lila_rows "
            f"WHERE dataset = {quoted(dataset)} AND reason IS NULL"
        ).fetchall()
        if low is not None:
            is_by_id = is_by_id and first == last
            roots[cell] = first if is_by_id else _shared_folder(low, high)
    return roots


def _shared_folder(low: str, high: str) -> str:
    """Returns the folder that two URLs share, ending with /; empty for no host."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False))
    folder = "".join(one for one, _ in same).rpartition("/")[0] + "/"
    return folder if _HOST.match(folder) else ""
