"""From what an importer has staged to the table of a dataset.

Here is decided, for every standard alike, which images, labels and boxes a dataset's
table holds, and what a location is. Everything that is left out is listed with its
reason. Nothing depends on the number of threads: every row has its place by its file.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np

from classification.artifacts import dataset_list, image_table, layout, left_out
from classification.artifacts.left_out import LeftOut
from classification.megadb import database
from classification.megadb import staging as tables
from classification.runtime import progress
from classification.runtime.errors import ArtifactError, ConfigurationError
from detection.boxes import OVERHANG
from taxonomy.graph import normal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import duckdb
    import pyarrow as pa

    from classification.artifacts.dataset_list import LocationRule
    from classification.megadb.staging import Staging

LOCATION_RULES: tuple[LocationRule, ...] = get_args(dataset_list.LocationRule)
COLUMN, SEQUENCE, DAY, FOLDER = LOCATION_RULES

# Rows of the table that are put together at a time.
_ROWS = 200_000
_NAME_FAULT, _NORMAL = "ct_name_fault", "ct_normal"
_EXTENSIONS = "|".join(sorted(suffix[1:] for suffix in layout.IMAGE_EXTENSIONS))

NOT_AN_IMAGE = "not an image file"
UNKNOWN_ID = "no image has this id"
CUT = "reaches out of its image; cut at the edge"
_KINDS = ("image", "label", "box", "source")


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What a dataset's table holds.

    Attributes:
        images: number of its rows.
        labelled: images with a label.
        boxed: images whose boxes are all drawn.
        labels: different labels.
        locations: different locations.
        unlocated: images without a location.
        sequences: different sequences, each within its location.
        straddling: sequence ids that stand at several locations of the source.
        left_out: how often each reason stands in the list of what was left out, by
            ``<what>: <reason>``, most frequent first.
    """

    images: int
    labelled: int
    boxed: int
    labels: int
    locations: int
    unlocated: int
    sequences: int
    straddling: int
    left_out: Mapping[str, int]

    @property
    def images_left_out(self) -> int:
        """Returns the number of images that are not in the table."""
        of_images = f"{_KINDS[0]}: "
        return sum(
            count
            for reason, count in self.left_out.items()
            if reason.startswith(of_images)
        )


def finish(
    staging: Staging, *, dataset: str, location_from: LocationRule, megadb: Path
) -> Imported:
    """Writes a dataset's table, and the list of what was left out, into a store.

    Args:
        staging: what an importer has read.
        dataset: the dataset's name.
        location_from: ``column``: as the source says; ``sequence``: each sequence is a
            location; ``day``: each day, ``SITE@2012-05-08``; ``folder``: each folder of
            images. For the last two, all images of a sequence go with its first.
        megadb: the store's folder.

    Raises:
        ArtifactError: the dataset's name leads out of the store.
        ConfigurationError: nothing was staged.
        StorageError: the store cannot be written.
    """
    _refuse_nothing(staging.connection, dataset)
    table = image_table.path_of(megadb, dataset)
    listed = left_out.path_of(megadb, dataset)
    with _functions(staging.connection):
        _find_faults(staging.connection)
        _place_images(staging.connection, location_from)
        _place_labels(staging.connection)
        _place_boxes(staging.connection)
    _list_left_out(staging.connection)
    imported = _count(staging.connection)
    left_out.write(listed, _left_out(staging.connection))
    image_table.write(table, _batches(staging.connection, dataset, imported.images))
    return imported


def sample_files(staging: Staging, count: int) -> list[str]:
    """Returns files of a table that was just written, spread evenly over it.

    Args:
        staging: what it was made of.
        count: how many, or all of them where there are fewer.
    """
    rows = staging.connection.execute(
        "SELECT file FROM images WHERE place % greatest(1, (SELECT count(*) FROM images)"
        " // $count) = 0 ORDER BY place LIMIT $count",
        {"count": count},
    ).fetchall()
    return [file for (file,) in rows]


def _refuse_nothing(connection: duckdb.DuckDBPyConnection, dataset: str) -> None:
    if not _number(connection, "SELECT count(*) FROM staged_images"):
        reasons = connection.execute(
            "SELECT reason, count(*) AS number FROM staged_skipped GROUP BY reason "
            "ORDER BY number DESC, reason LIMIT 1"
        ).fetchall()
        why = "".join(f"; {number} x {reason}" for reason, number in reasons)
        raise ConfigurationError(f"{dataset}: no images{why}")


@contextmanager
def _functions(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Lets SQL ask what only Python knows; for few rows, or for distinct values."""
    connection.create_function(_NAME_FAULT, _name_fault, ["VARCHAR"], "VARCHAR")
    connection.create_function(_NORMAL, normal, ["VARCHAR"], "VARCHAR")
    try:
        yield
    finally:
        connection.remove_function(_NAME_FAULT)
        connection.remove_function(_NORMAL)


def _name_fault(file: str) -> str:
    """Returns why a file cannot be an image of a dataset, or an empty text."""
    try:
        layout.checked_name(file)
    except ArtifactError as error:
        # What follows in brackets is advice on another command.
        return error.message.removeprefix(f"{file!r} ").partition(" (")[0]
    return "" if layout.is_image_name(file) else NOT_AN_IMAGE


def _find_faults(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes ``faults``: the row of each image that is left out, and why."""
    # What this takes for a plain name, checked_name and is_image_name take, too; the
    # others are asked one by one.
    plain = (
        r"regexp_matches(file, '[^/.]\.(?i:" + _EXTENSIONS + ")$') "
        r"AND NOT regexp_matches(file, '^/|\\|:|\x00|\.\.')"
    )
    connection.execute(
        "CREATE TABLE faults AS SELECT row, reason FROM (SELECT row, CASE "
        "WHEN coalesce(problem, '') <> '' THEN problem "
        "WHEN coalesce(file, '') = '' THEN 'no file name' "
        f"WHEN {plain} THEN '' ELSE {_NAME_FAULT}(file) END AS reason "
        "FROM staged_images) WHERE reason <> ''"
    )
    _find_repeated(connection, "id", "an earlier image has this id")
    _find_repeated(connection, "file", "an earlier image has this file")


def _find_repeated(
    connection: duckdb.DuckDBPyConnection, column: str, reason: str
) -> None:
    # Hashes are compared first: ten million of them fit into memory, names do not.
    connection.execute(
        "INSERT INTO faults "
        "WITH sound AS (SELECT row, id, file FROM staged_images "
        "ANTI JOIN faults USING (row)), "
        f"repeated AS (SELECT hash({column}) AS code FROM sound GROUP BY code "
        "HAVING count(*) > 1), "
        "ordered AS (SELECT row, row_number() OVER "
        f"(PARTITION BY {column} ORDER BY row) AS nth FROM sound "
        f"SEMI JOIN repeated ON hash(sound.{column}) = repeated.code) "
        f"SELECT row, '{reason}' FROM ordered WHERE nth > 1"
    )


def _place_images(
    connection: duckdb.DuckDBPyConnection, location_from: LocationRule
) -> None:
    """Makes ``images``: what is kept, each with its place in the order of files."""
    trimmed = ", ".join(
        f"{database.stripped(column)} AS {column}"
        for column in ("location", "sequence", "rights")
    )
    connection.execute(
        f"CREATE VIEW sound AS SELECT row, id, file, {trimmed}, {_URL} AS url, frame, "
        "CASE WHEN isfinite(datetime) THEN datetime END AS datetime, "
        "CASE WHEN width > 0 THEN width END AS width, "
        "CASE WHEN height > 0 THEN height END AS height "
        "FROM staged_images ANTI JOIN faults USING (row)"
    )
    place, join = _LOCATIONS[location_from]
    connection.execute(
        "CREATE TABLE images AS SELECT row_number() OVER () - 1 AS place, * FROM (SELECT "
        f"id, file, location AS site, {place} AS location, sequence, frame, datetime, "
        f"width, height, url, rights FROM sound {join} ORDER BY file)"
    )


def _firsts(what: str) -> str:
    """Returns the join that gives each image what is true of its sequence's first."""
    return (
        f"LEFT JOIN (SELECT location AS first_site, sequence AS first_sequence, {what} "
        "FROM sound WHERE sequence IS NOT NULL GROUP BY location, sequence) "
        "ON first_sequence = sequence AND first_site IS NOT DISTINCT FROM location"
    )


# An address that is signed lets whoever reads the table in; unsigned it is as good a name.
_URL = f"""CASE WHEN regexp_matches(url, '(?i)[?&](sig|x-amz-signature|x-goog-signature)=')
    THEN regexp_replace(url, '[?].*$', '', 's') ELSE {database.stripped("url")} END"""
_SITE = "coalesce(location || '@', '')"
_DAY = "strftime(coalesce(first_time, datetime), '%Y-%m-%d')"
_FOLDER_OF = r"nullif(regexp_replace({}, '/?[^/]*$', ''), '')"
# By rule: the location, and the join that it needs.
_LOCATIONS: dict[LocationRule, tuple[str, str]] = {
    COLUMN: ("location", ""),
    SEQUENCE: (f"{_SITE} || sequence", ""),
    DAY: (
        f"coalesce({_SITE} || {_DAY}, location)",
        _firsts("min(datetime) AS first_time"),
    ),
    FOLDER: (
        _FOLDER_OF.format("coalesce(first_file, file)"),
        _firsts(
            "arg_min(file, {'t': coalesce(datetime, TIMESTAMP 'infinity'), "
            "'f': coalesce(frame, 2147483647), 'n': file}) AS first_file"
        ),
    ),
}


def _make_names(
    connection: duckdb.DuckDBPyConnection, names: str, table: str, column: str
) -> None:
    """Makes a table of the different texts of a column, each with its ``name``."""
    connection.execute(
        f"CREATE TABLE {names} AS SELECT {column}, {_NORMAL}({column}) AS name FROM "
        f"(SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL)"
    )


def _place_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes ``labels``: each with its name and the place of its image."""
    _make_names(connection, "names", tables.LABELS, "label")
    connection.execute(
        """
        CREATE TABLE labels AS
        SELECT row, place, level, name, CASE WHEN place IS NULL THEN image_id END AS id
        FROM (SELECT * FROM staged_labels JOIN names USING (label) WHERE name <> '')
        LEFT JOIN (SELECT id AS image_id, place FROM images) USING (image_id)
        """
    )


def _place_boxes(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes ``boxes``, in fractions of their image, and ``boxed`` images."""
    _make_names(connection, "categories", tables.BOXES, "category")
    connection.execute(
        """
        CREATE TABLE claims AS SELECT DISTINCT image_id, place FROM staged_boxed
        LEFT JOIN (SELECT id AS image_id, place FROM images) USING (image_id)
        """
    )
    connection.execute(
        f"""
        CREATE TABLE boxes AS
        WITH measured AS (
            SELECT row, image_id, place, coalesce(name, '') AS category, x, y, w, h,
            CASE WHEN is_relative THEN 1 ELSE width END AS wide,
            CASE WHEN is_relative THEN 1 ELSE height END AS high,
            place IN (SELECT place FROM claims WHERE place IS NOT NULL) AS is_claimed
            FROM staged_boxes LEFT JOIN categories USING (category) LEFT JOIN
            (SELECT id AS image_id, place, width, height FROM images) USING (image_id)
        ), fractions AS (
            SELECT *, x / wide AS l, y / high AS t, (x + w) / wide AS r,
            (y + h) / high AS b FROM measured
        )
        SELECT row, image_id, place, category, {_BOX_REASON} AS reason,
        greatest(l, 0) AS x, greatest(t, 0) AS y,
        CASE WHEN l < 0 OR r > 1 THEN least(r, 1) - greatest(l, 0)
            ELSE w / wide END AS w,
        CASE WHEN t < 0 OR b > 1 THEN least(b, 1) - greatest(t, 0)
            ELSE h / high END AS h
        FROM fractions
        """
    )
    # A box that is lost would be an animal that no crop shows, or an image that passes
    # for empty. So such an image counts as one whose boxes nobody drew.
    connection.execute(
        f"""
        CREATE TABLE boxed AS SELECT place FROM claims WHERE place IS NOT NULL
        EXCEPT SELECT place FROM boxes WHERE reason NOT IN ('', '{CUT}')
        """
    )


_BOX_REASON = f"""CASE
    WHEN category = '' THEN 'no category'
    WHEN NOT coalesce(isfinite(x) AND isfinite(y) AND isfinite(w) AND isfinite(h), FALSE)
        THEN 'four numbers expected'
    WHEN w <= 0 OR h <= 0 THEN 'width and height are not above 0'
    WHEN wide IS NULL OR high IS NULL
        THEN 'in pixels, but the size of its image is unknown'
    WHEN l >= 1 OR t >= 1 OR r <= 0 OR b <= 0 THEN 'outside of its image'
    WHEN NOT is_claimed THEN 'not all boxes of its image are drawn'
    WHEN least(l, t) < -{OVERHANG} OR greatest(r, b) > 1 + {OVERHANG} THEN '{CUT}'
    ELSE '' END"""


def _list_left_out(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes ``left_out``: the rows of the list, not yet in order."""
    unknown = "ANTI JOIN (SELECT id AS image_id FROM staged_images) USING (image_id)"
    connection.execute(
        f"""
        CREATE TABLE left_out AS
        SELECT 0 AS kind, row, coalesce(nullif(file, ''), id) AS item, reason
            FROM faults JOIN staged_images USING (row)
        UNION ALL
        SELECT 1, row, image_id || ': ' || name, '{UNKNOWN_ID}'
            FROM (SELECT row, id AS image_id, name FROM labels WHERE place IS NULL)
            {unknown}
        UNION ALL
        SELECT 1, row, image_id, 'an empty label'
            FROM staged_labels LEFT JOIN names USING (label)
            WHERE coalesce(name, '') = ''
        UNION ALL
        SELECT 2, row, image_id, reason FROM boxes
            WHERE place IS NOT NULL AND reason <> ''
        UNION ALL
        SELECT 2, row, image_id, '{UNKNOWN_ID}' FROM boxes {unknown}
        UNION ALL
        SELECT 2, NULL, image_id, '{UNKNOWN_ID}' FROM claims {unknown}
            ANTI JOIN boxes USING (image_id)
        UNION ALL
        SELECT 3, length(item), item, reason FROM staged_skipped
        """
    )


def _left_out(connection: duckdb.DuckDBPyConnection) -> Iterator[LeftOut]:
    """Yields the rows of the list in their order."""
    rows = connection.execute(
        "SELECT kind, item, reason FROM left_out ORDER BY kind, row, item, reason"
    )
    while block := rows.fetchmany(_ROWS):
        for kind, item, reason in block:
            yield LeftOut(_KINDS[kind], item, reason)


def _batches(
    connection: duckdb.DuckDBPyConnection, dataset: str, count: int
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of the table, a range of places at a time."""
    for first in progress.track(
        range(0, count, _ROWS), total=-(-count // _ROWS), unit="parts of the table"
    ):
        places = f"place >= {first} AND place < {first + _ROWS}"
        # Lists are sorted once they are whole, and fractions leave as plain columns:
        # DuckDB 2.0.0 loses hold of arrays in aggregates that sort.
        rows = connection.sql(
            f"""
            SELECT {database.quoted(dataset)} AS dataset, file, location, sequence,
            frame, datetime, width, height, coalesce(names, []) AS labels, label_level,
            CASE WHEN place IN (SELECT place FROM boxed WHERE {places})
                THEN coalesce(drawn, []) END AS boxes, url, rights
            FROM (SELECT * FROM images WHERE {places}) LEFT JOIN (
                SELECT place, list_sort(list(DISTINCT name)) AS names,
                CASE WHEN bool_or(level = '{tables.IMAGE_LEVEL}')
                    THEN '{tables.IMAGE_LEVEL}' ELSE '{tables.SEQUENCE_LEVEL}' END
                    AS label_level
                FROM labels WHERE {places} GROUP BY place
            ) USING (place) LEFT JOIN (
                SELECT place, list_sort(list({{'row': row, 'category': category,
                    'x': x, 'y': y, 'w': w, 'h': h}})) AS drawn
                FROM boxes WHERE {places} GROUP BY place
            ) USING (place) ORDER BY place
            """
        ).to_arrow_table()
        yield from _to_schema(rows).to_batches()


def _to_schema(rows: pa.Table) -> pa.Table:
    """Returns the rows with their boxes as the table's format has them."""
    import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

    schema = image_table.schema()
    kind = schema.field("boxes").type
    column = rows.column("boxes").combine_chunks()
    lengths = column.value_lengths()
    offsets = np.cumsum([0, *lengths.fill_null(0).to_pylist()], dtype=np.int32)
    boxes = column.flatten()
    corners = np.stack([boxes.field(side).to_numpy() for side in "xywh"], axis=1)
    bbox = kind.value_type.field("bbox").type
    drawn = pa.StructArray.from_arrays(
        [
            boxes.field("category"),
            pa.FixedSizeListArray.from_arrays(corners.ravel(), type=bbox),
        ],
        fields=list(kind.value_type),
    )
    lists = pa.ListArray.from_arrays(
        pa.array(offsets), drawn, type=kind, mask=column.is_null()
    )
    place = rows.schema.get_field_index("boxes")
    return rows.set_column(place, schema.field("boxes"), lists).cast(schema)


def _number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    [(number,)] = connection.execute(query).fetchall()
    return int(number)


def _count(connection: duckdb.DuckDBPyConnection) -> Imported:
    reasons = connection.execute(
        "SELECT kind, reason, count(*) AS number FROM left_out "
        "GROUP BY kind, reason ORDER BY number DESC, kind, reason"
    ).fetchall()
    straddling = (
        "SELECT sequence FROM images WHERE sequence IS NOT NULL "
        "GROUP BY sequence HAVING min(site) <> max(site)"
    )
    return Imported(
        images=_number(connection, "SELECT count(*) FROM images"),
        labelled=_number(connection, "SELECT count(DISTINCT place) FROM labels"),
        boxed=_number(connection, "SELECT count(*) FROM boxed"),
        labels=_number(
            connection,
            "SELECT count(DISTINCT name) FROM labels WHERE place IS NOT NULL",
        ),
        locations=_number(connection, "SELECT count(DISTINCT location) FROM images"),
        unlocated=_number(
            connection, "SELECT count(*) FROM images WHERE location IS NULL"
        ),
        sequences=_number(
            connection,
            "SELECT count(*) FROM (SELECT DISTINCT site, sequence FROM images "
            "WHERE sequence IS NOT NULL)",
        ),
        straddling=_number(connection, f"SELECT count(*) FROM ({straddling})"),
        left_out={
            f"{_KINDS[kind]}: {reason}": number for kind, reason, number in reasons
        },
    )
