"""Camtrap DP 1.0 packages, the exchange format of Agouti, TRAPPER, Wildlife Insights.

A package is a ``datapackage.json`` and three tables, see ``data_package``:
``deployments`` of cameras, ``media``, which are the images and videos, and
``observations``, each of one image or of one event. ``NA`` and ``NaN`` in a cell mean
that nothing is known.

**Locations.** An image's location is the ``locationID`` of its deployment. A deployment
without one, or one that the package does not list, is a location by its
``deploymentID``.

**Files.** A relative ``filePath`` is the file; names start from the folder of
``datapackage.json``. A ``filePath`` on the web becomes the ``url``, and the file is the
name to keep the download by: ``deploymentID/fileName``, or
``deploymentID/mediaID/fileName`` where images of the deployment share that ``fileName``.
Where there is no ``fileName``, the ``mediaID`` stands for it; where it does not end as an
image does, the ending of the ``fileMediatype`` is added. Videos are left out.

**Time.** ``datetime`` is the camera's clock: the zone is read and dropped. Events and
images are compared in UTC, to the second; a time that names no zone counts as UTC.

**Sequences.** An image's sequence is the ``eventID`` that an observation of the image
states (the first of several by the alphabet), or else that of an event whose interval
the image lies in: of several the one that begins first, then the longest.

**Labels.** ``animal`` gives its ``scientificName``, or ``animal`` where it has none;
``human``, ``vehicle`` and ``unknown`` give these words, and ``blank`` gives ``empty``;
``unclassified`` says nothing. An observation of an image labels that image, and one of an
event labels every image of the deployment from ``eventStart`` to ``eventEnd``, both
included, as a label of the sequence. An image that has a label of its own takes none
from its events: who looked at the image knows better which of the event's animals it
shows. What a machine classified is no label unless it is asked for, nor is its box a box.

**Boxes** are of observations of images, in fractions. They count only where they are all
the image's boxes: each observation of something to be seen in it has one, and none
counts several individuals. Otherwise a detector has to look at the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from classification.artifacts import layout
from classification.megadb import clock, csv_rows, data_package
from classification.megadb import staging as tables
from classification.megadb.csv_columns import Table, refuse_missing
from classification.megadb.csv_rows import NUMBER
from classification.megadb.database import insert, quoted
from classification.runtime import parallel
from classification.runtime.errors import in_file
from detection.records import ANIMAL, PERSON, VEHICLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from classification.megadb.data_package import Package, Resource
    from classification.megadb.staging import Staging

VIDEO = "a video"
NO_IMAGE = "by its fileMediatype not an image"
NO_MEDIA_ID = "no mediaID"
NO_DEPLOYMENT_ID = "no deploymentID"
REPEATED_DEPLOYMENT = "an earlier row has this deploymentID"
UNKNOWN_DEPLOYMENT = (
    "no row of deployments has this deploymentID, so it is a location of its own"
)
UNKNOWN_LEVEL = "observationLevel is neither media nor event"
UNKNOWN_TYPE = (
    "observationType is none of animal, human, vehicle, blank, unknown, unclassified"
)
BY_MACHINE = "classified by a machine, not by a person"
UNTIMED_EVENT = "eventStart or eventEnd cannot be read"
REVERSED_EVENT = "eventEnd is before eventStart"
EMPTY_EVENT = "no image of its deployment lies between eventStart and eventEnd"
BOX_OF_EVENT = "a box of an event, not of an image"

# A row's place in the source is that of its file, then that in the file.
_PART_BITS = 40
_EXTENSION_BY_MEDIATYPE = {
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/webp": ".webp",
}
_EXTENSIONS = "|".join(sorted(suffix[1:] for suffix in layout.IMAGE_EXTENSIONS))
# What a file that is on the web is called once it is fetched; see the module.
_IS_REMOTE = "regexp_matches(path, '^[A-Za-z][A-Za-z0-9+.-]*://')"
_EXTENSION = " ".join(
    f"WHEN '{kind}' THEN '{extension}'"
    for kind, extension in _EXTENSION_BY_MEDIATYPE.items()
)
_OWN_NAME = f"""coalesce(name, id)
    || CASE WHEN regexp_matches(coalesce(name, id), '[^/.]\\.(?i:{_EXTENSIONS})$') THEN ''
        ELSE CASE kind {_EXTENSION} ELSE '' END END"""
_FILE_BY_NAME = f"concat_ws('/', deployment, {_OWN_NAME})"
_FILE_BY_ID = f"concat_ws('/', deployment, id, {_OWN_NAME})"
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


@dataclass(frozen=True, slots=True)
class Options:
    """How a package is read.

    Attributes:
        machine_labels: take what a machine classified, too.
    """

    machine_labels: bool = False


@dataclass(frozen=True, slots=True)
class _Kind:
    """A table of the standard, and what is kept of it.

    Attributes:
        name: of the resource.
        required: columns without which nothing can be read.
        optional: further columns that are read where they are there.
        kept: SQL type and value, by column of the table ``camtrap_<name>``.
    """

    name: str
    required: Sequence[str]
    optional: Sequence[str]
    kept: Mapping[str, tuple[str, str]]


def _second(text: str) -> str:
    return f"date_trunc('second', {clock.INSTANT}({text}))"


_DEPLOYMENTS = _Kind(
    "deployments",
    ("deploymentID",),
    ("locationID",),
    {
        "deployment": ("VARCHAR", "deploymentID"),
        "location": ("VARCHAR", "coalesce(locationID, deploymentID)"),
    },
)
_MEDIA = _Kind(
    "media",
    ("mediaID", "deploymentID", "timestamp", "filePath"),
    ("fileName", "fileMediatype"),
    {
        "id": ("VARCHAR", "mediaID"),
        "deployment": ("VARCHAR", "deploymentID"),
        "path": (
            "VARCHAR",
            "regexp_replace(replace(filePath, '\\', '/'), '^(\\./+)+', '')",
        ),
        "name": ("VARCHAR", "replace(fileName, '\\', '/')"),
        "kind": ("VARCHAR", "lower(fileMediatype)"),
        "datetime": ("TIMESTAMP", f'{clock.WALL_CLOCK}("timestamp")'),
        "moment": ("TIMESTAMP", _second('"timestamp"')),
        "is_unreadable": (
            "BOOLEAN",
            f'"timestamp" IS NOT NULL AND {clock.WALL_CLOCK}("timestamp") IS NULL',
        ),
    },
)
_LABEL = """CASE lower(observationType) WHEN 'animal' THEN coalesce(scientificName, 'animal')
    WHEN 'human' THEN 'human' WHEN 'vehicle' THEN 'vehicle' WHEN 'unknown' THEN 'unknown'
    WHEN 'blank' THEN 'empty' END"""
# As of any other category that names neither people nor vehicles, a box of something
# unknown is taken for an animal's.
_HOLDS = f"""CASE lower(observationType) WHEN 'animal' THEN '{ANIMAL}'
    WHEN 'unknown' THEN '{ANIMAL}' WHEN 'human' THEN '{PERSON}'
    WHEN 'vehicle' THEN '{VEHICLE}' END"""
_OBSERVATIONS = _Kind(
    "observations",
    ("deploymentID", "mediaID", "observationLevel", "observationType"),
    (
        *("eventID", "eventStart", "eventEnd", "scientificName", "count"),
        *("classificationMethod", *_BOX),
    ),
    {
        "level": ("VARCHAR", "lower(observationLevel)"),
        "media_id": ("VARCHAR", "mediaID"),
        "deployment": ("VARCHAR", "deploymentID"),
        "event": ("VARCHAR", "eventID"),
        "starts": ("TIMESTAMP", _second("eventStart")),
        "ends": ("TIMESTAMP", _second("eventEnd")),
        "label": ("VARCHAR", _LABEL),
        "holds": ("VARCHAR", _HOLDS),
        "is_unclassified": (
            "BOOLEAN",
            "coalesce(lower(observationType) = 'unclassified', FALSE)",
        ),
        "is_by_machine": (
            "BOOLEAN",
            "coalesce(lower(classificationMethod) = 'machine', FALSE)",
        ),
        "is_single": ("BOOLEAN", "coalesce(\"count\", '1') IN ('1', '1.0')"),
        "has_box": ("BOOLEAN", f"coalesce({', '.join(_BOX)}) IS NOT NULL"),
        **{
            side: ("DOUBLE", f"try_cast({column} AS DOUBLE)")
            for side, column in zip("xywh", _BOX, strict=True)
        },
    },
)
_KINDS = (_DEPLOYMENTS, _MEDIA, _OBSERVATIONS)
_SCRATCH = (
    *(f"camtrap_{kind.name}" for kind in _KINDS),
    *("camtrap_ranked", "camtrap_spans", "camtrap_sequences"),
)


def read(source: Path, staging: Staging, options: Options | None = None) -> None:
    """Stages the images, labels and boxes of a package.

    Args:
        source: its folder, its ``datapackage.json``, or a ``.zip`` of the folder.
        staging: filled.
        options: whether what a machine classified counts.

    Raises:
        ArtifactError: it is no such package, a table cannot be read or lacks a column,
            or a path leads out of the package; with the address of what is wrong.
    """
    connection = staging.connection
    clock.define(connection)
    package = data_package.open_package(source)
    resources = [package.resource(kind.name) for kind in _KINDS]
    for kind, resource in zip(_KINDS, resources, strict=True):
        _load(connection, kind, resource)
    address = {
        resource.name: _address([part.name for part in resource.parts])
        for resource in resources
    }
    _settle_deployments(connection, address["deployments"])
    _judge(connection, options or Options(), address["observations"])
    _place_events(connection, address["observations"])
    _stage_images(connection, address["media"], _rights(package))
    _stage_labels(connection)
    _stage_boxes(connection)
    for table in _SCRATCH:
        connection.execute(f"DROP TABLE {table}")


def _load(
    connection: duckdb.DuckDBPyConnection, kind: _Kind, resource: Resource
) -> None:
    """Makes ``camtrap_<name>``: what is kept of a table, with each row's place."""
    types = ", ".join(f"{name} {type_}" for name, (type_, _) in kind.kept.items())
    connection.execute(f"CREATE TABLE camtrap_{kind.name} (row BIGINT, {types})")
    for number, part in enumerate(resource.parts):
        with in_file(Path(str(part))):
            names = csv_rows.header(part, resource.form)
        table = Table(part, names, "incoming")
        query = _insertion(kind, table, number)
        with in_file(Path(str(part))):
            places = table.places([*kind.required, *kind.optional])
            blocks = csv_rows.blocks(part, resource.form, names, places)
            for block in parallel.ahead(blocks):
                insert(connection, query, block.rows)
                reason = f"{len(names)} cells expected, as the header has"
                _list_ragged(connection, part.name, block.ragged, reason)


def _insertion(kind: _Kind, table: Table, part: int) -> str:
    """Returns SQL that reads ``incoming`` and keeps what is wanted of it."""
    for name in kind.required:
        if table.place(name) is None:
            refuse_missing(name, [table])
    names = (*kind.required, *kind.optional)
    cells = ", ".join(f'{_cell(table, name)} AS "{name}"' for name in names)
    known = ", ".join(f'{_known(name)} AS "{name}"' for name in names)
    kept = ", ".join(f"{value} AS {name}" for name, (_, value) in kind.kept.items())
    return (
        f"INSERT INTO camtrap_{kind.name} BY NAME "
        f"SELECT {NUMBER} + {part << _PART_BITS} AS row, {kept} "
        f"FROM (SELECT {NUMBER}, {known} FROM (SELECT {NUMBER}, {cells} FROM incoming))"
    )


def _cell(table: Table, name: str) -> str:
    """Returns SQL for a cell; null where it is empty, or there is no such column."""
    return "NULL::VARCHAR" if table.place(name) is None else table.cell(name)


def _known(name: str) -> str:
    return f"CASE WHEN \"{name}\" NOT IN ('NA', 'NaN', 'nan') THEN \"{name}\" END"


def _list_ragged(
    connection: duckdb.DuckDBPyConnection, file: str, rows: Sequence[int], reason: str
) -> None:
    import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

    if rows:
        items = [f"{file} row {number}" for number in rows]
        skipped = pa.table({"item": items, "reason": [reason] * len(items)})
        query = f"INSERT INTO {tables.SKIPPED} BY NAME SELECT * FROM incoming"
        insert(connection, query, skipped)


def _address(files: Sequence[str]) -> str:
    """Returns SQL for the address of a ``row``, given the files of its table."""
    names = ", ".join(quoted(file) for file in files)
    return (
        f"[{names}][(row >> {_PART_BITS}) + 1] || ' row ' "
        f"|| (row & {(1 << _PART_BITS) - 1})"
    )


def _list(connection: duckdb.DuckDBPyConnection, item: str, found: str) -> None:
    """Lists what is skipped; ``found`` gives ``reason`` and what ``item`` needs."""
    connection.execute(
        f"INSERT INTO {tables.SKIPPED} BY NAME SELECT {item} AS item, reason "
        f"FROM ({found}) WHERE reason IS NOT NULL"
    )


def _rights(package: Package) -> str | None:
    """Returns who owns the media, and under which licence, as the package says."""
    said = [
        *_names(package, "contributors", "role", "rightsHolder", ("title",)),
        *_names(package, "licenses", "scope", "media", ("name", "path", "title")),
    ]
    return "; ".join(said) or None


def _names(
    package: Package, key: str, property_: str, value: str, names: Sequence[str]
) -> list[str]:
    """Returns what those of a list are called that have a value in a property."""
    listed = package.document.get(key)
    chosen = [
        one
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict) and one.get(property_) == value
    ]
    called = [[one[name] for name in names if one.get(name)] for one in chosen]
    return [str(found[0]) for found in called if found]


def _settle_deployments(connection: duckdb.DuckDBPyConnection, address: str) -> None:
    """Leaves one row of each deployment, the first, and lists what is odd."""
    _list(
        connection,
        f"{address} || coalesce(': ' || deployment, '')",
        f"""
        SELECT row, deployment, CASE WHEN deployment IS NULL THEN '{NO_DEPLOYMENT_ID}'
            WHEN row > min(row) OVER (PARTITION BY deployment)
            THEN '{REPEATED_DEPLOYMENT}' END AS reason
        FROM camtrap_deployments
        """,
    )
    connection.execute(
        "DELETE FROM camtrap_deployments WHERE deployment IS NULL OR row NOT IN "
        "(SELECT min(row) FROM camtrap_deployments GROUP BY deployment)"
    )
    _list(
        connection,
        "'deployment ' || deployment",
        f"SELECT DISTINCT deployment, '{UNKNOWN_DEPLOYMENT}' AS reason FROM camtrap_media "
        "ANTI JOIN camtrap_deployments USING (deployment) WHERE deployment IS NOT NULL",
    )


def _judge(
    connection: duckdb.DuckDBPyConnection, options: Options, address: str
) -> None:
    """Lists the observations that give no label, and takes their labels and boxes away."""
    connection.execute("ALTER TABLE camtrap_observations ADD COLUMN reason VARCHAR")
    refused = "FALSE" if options.machine_labels else "is_by_machine"
    connection.execute(
        f"""
        UPDATE camtrap_observations SET reason = CASE
            WHEN level IS NULL OR level NOT IN ('media', 'event') THEN '{UNKNOWN_LEVEL}'
            WHEN level = 'media' AND media_id IS NULL THEN '{NO_MEDIA_ID}'
            WHEN level = 'event' AND deployment IS NULL THEN '{NO_DEPLOYMENT_ID}'
            WHEN level = 'event' AND (starts IS NULL OR ends IS NULL)
                THEN '{UNTIMED_EVENT}'
            WHEN level = 'event' AND ends < starts THEN '{REVERSED_EVENT}'
            WHEN label IS NULL AND NOT is_unclassified THEN '{UNKNOWN_TYPE}'
            WHEN {refused} THEN '{BY_MACHINE}'
            WHEN level = 'event' AND has_box THEN '{BOX_OF_EVENT}' END
        """
    )
    _list(connection, address, "SELECT row, reason FROM camtrap_observations")


# Of these, an event is still an event.
_EVENTS = f"""level = 'event' AND (reason IS NULL
    OR reason IN ('{UNKNOWN_TYPE}', '{BY_MACHINE}', '{BOX_OF_EVENT}'))"""


def _place_events(connection: duckdb.DuckDBPyConnection, address: str) -> None:
    """Makes ``camtrap_ranked`` and ``camtrap_spans``.

    The rank of an image is its place in the order of deployments and times, so that an
    event is a span of ranks. With that nothing is compared that does not belong together.
    """
    connection.execute(
        """
        CREATE TABLE camtrap_ranked AS SELECT row, deployment, moment,
            row_number() OVER (ORDER BY deployment, moment, row) AS rank
        FROM camtrap_media WHERE moment IS NOT NULL AND deployment IS NOT NULL
            AND EXISTS (FROM camtrap_observations WHERE level = 'event')
        """
    )
    connection.execute(
        f"""
        CREATE TABLE camtrap_spans AS
        WITH events AS (
            SELECT row, deployment, event, starts, ends,
                reason IS NULL OR reason = '{BOX_OF_EVENT}' AS is_counted, label
            FROM camtrap_observations WHERE {_EVENTS}
        ), times AS (
            SELECT deployment, moment, min(rank) AS first, max(rank) AS last
            FROM camtrap_ranked GROUP BY deployment, moment
        )
        SELECT events.row, events.deployment, event,
            CASE WHEN is_counted THEN label END AS label,
            lower.first AS lo, upper.last AS hi
        FROM events ASOF LEFT JOIN times AS lower
            ON events.deployment = lower.deployment AND events.starts <= lower.moment
        ASOF LEFT JOIN times AS upper
            ON events.deployment = upper.deployment AND events.ends >= upper.moment
        """
    )
    is_empty = "lo IS NULL OR hi IS NULL OR lo > hi"
    _list(
        connection,
        address,
        f"SELECT row, '{EMPTY_EVENT}' AS reason FROM camtrap_spans WHERE ({is_empty}) "
        "AND label IS NOT NULL",
    )
    connection.execute(f"DELETE FROM camtrap_spans WHERE {is_empty}")


def _ranks(column: str, same: str) -> str:
    """Returns SQL that gives each rank what its spans have in a column, once.

    Where spans with the same ``same`` overlap, a rank belongs to the one that begins
    first, then to the longest. So there are never more rows than ranks, however many
    spans cover them.
    """
    return f"""
        SELECT row, {column}, unnest(range(start, hi + 1)) AS rank FROM (
            SELECT *, greatest(lo, coalesce(max(hi) OVER (
                PARTITION BY {same} ORDER BY lo, hi DESC, {column}, row
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) + 1, lo)) AS start
            FROM camtrap_spans WHERE {column} IS NOT NULL
        ) WHERE start <= hi
    """


def _find_sequences(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes ``camtrap_sequences``: the event of each image that has one, by its row."""
    connection.execute(
        f"""
        CREATE TABLE camtrap_sequences AS
        WITH stated AS (
            SELECT media_id AS id, min(event) AS stated FROM camtrap_observations
            WHERE level = 'media' AND media_id IS NOT NULL AND event IS NOT NULL
            GROUP BY media_id
        ), timed AS (
            SELECT ranked.row, event FROM camtrap_ranked AS ranked
            JOIN ({_ranks("event", "deployment")}) AS spans USING (rank)
        )
        SELECT media.row, coalesce(stated, timed.event) AS sequence
        FROM (SELECT row, id FROM camtrap_media) AS media
        LEFT JOIN stated USING (id) LEFT JOIN timed ON timed.row = media.row
        WHERE stated IS NOT NULL OR timed.event IS NOT NULL
        """
    )


def _stage_images(
    connection: duckdb.DuckDBPyConnection, address: str, rights: str | None
) -> None:
    _list(
        connection,
        address,
        f"""
        SELECT row, CASE WHEN id IS NULL THEN '{NO_MEDIA_ID}'
            WHEN is_unreadable THEN '{clock.UNREADABLE}' END AS reason
        FROM camtrap_media
        """,
    )
    _find_sequences(connection)
    # A name that several images share is found by its hash: ten million of these fit
    # into memory, names do not.
    connection.execute(
        f"""
        INSERT INTO {tables.IMAGES} BY NAME
        WITH named AS (
            SELECT *, CASE WHEN is_remote THEN {_FILE_BY_NAME} END AS short
            FROM (SELECT *, {_IS_REMOTE} AS is_remote FROM camtrap_media
                WHERE id IS NOT NULL)
        ), shared AS (
            SELECT hash(short) AS code FROM named WHERE short IS NOT NULL
            GROUP BY code HAVING min(id) <> max(id)
        )
        SELECT row, id, CASE WHEN NOT is_remote THEN path
                WHEN hash(short) IN (SELECT code FROM shared) THEN {_FILE_BY_ID}
                ELSE short END AS file,
            coalesce(location, deployment) AS location, sequence, datetime,
            CASE WHEN is_remote THEN path END AS url, $rights AS rights,
            CASE WHEN kind LIKE 'video/%' THEN '{VIDEO}'
                WHEN kind NOT LIKE 'image/%' THEN '{NO_IMAGE}' END AS problem
        FROM named LEFT JOIN (SELECT deployment, location FROM camtrap_deployments)
            USING (deployment)
        LEFT JOIN camtrap_sequences USING (row)
        """,
        {"rights": rights},
    )


def _stage_labels(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        f"""
        INSERT INTO {tables.LABELS} BY NAME
        SELECT row, media_id AS image_id, label, '{tables.IMAGE_LEVEL}' AS level
        FROM camtrap_observations
        WHERE level = 'media' AND reason IS NULL AND label IS NOT NULL
        """
    )
    connection.execute(
        f"""
        INSERT INTO {tables.LABELS} BY NAME
        SELECT spans.row, media.id AS image_id, label, '{tables.SEQUENCE_LEVEL}' AS level
        FROM ({_ranks("label", "deployment, label")}) AS spans
        JOIN camtrap_ranked AS ranked USING (rank)
        JOIN camtrap_media AS media ON media.row = ranked.row
        WHERE media.id IS NOT NULL AND media.id NOT IN (
            SELECT image_id FROM {tables.LABELS} WHERE level = '{tables.IMAGE_LEVEL}')
        """
    )


def _stage_boxes(connection: duckdb.DuckDBPyConnection) -> None:
    """Stages the boxes of images, and says which are all of their image's."""
    boxed = "level = 'media' AND reason IS NULL AND has_box"
    connection.execute(
        f"""
        INSERT INTO {tables.BOXES} BY NAME
        SELECT row, media_id AS image_id, holds AS category, x, y, w, h,
            TRUE AS is_relative
        FROM camtrap_observations WHERE {boxed}
        """
    )
    connection.execute(
        f"""
        INSERT INTO {tables.BOXED} BY NAME
        SELECT media_id AS image_id FROM camtrap_observations
        WHERE level = 'media' AND reason IS NULL AND media_id IN
            (SELECT media_id FROM camtrap_observations WHERE {boxed})
        GROUP BY media_id
        HAVING bool_and(holds IS NULL OR (has_box AND is_single))
        """
    )
