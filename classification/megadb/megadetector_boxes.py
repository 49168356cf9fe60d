"""What MegaDetector found, as the boxes of a dataset.

A detections JSON of ``run_detector_batch``, or one of those that MegaDetector's makers
publish for the datasets on LILA; see ``artifacts.detections`` for the format.

**What this means for the steps that follow.** In the store, a box is one that people
drew: it has confidence 1, and no detector looks at its image again, not even at one in
which MegaDetector found nothing at or above the threshold. So take results that were
looked through, or a threshold that is trusted. For the confidences to be kept, and the
threshold to be chosen later, ``cache_batchapi_outputs`` is the way: it puts the same
file into the detection cache.

Boxes with at least the threshold's confidence are staged in the words that
``box_categories`` makes of their category's name. Boxes that an image had before are
dropped. An image that failed is skipped, so that a detector looks at it later.

**Names.** The file may call images by the names that the dataset has for them, or put
the same folders before all of them, such as ``caltech-unzipped/cct_images/``. If any
image has the same name in both, all names count as they are. Otherwise those folders
are taken off that stand before more than half of the names, one by one, and there must
be one number of folders, and no second, with which images are found. A backslash is
read as ``/``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import msgspec

from classification.artifacts import _stream, detections
from classification.megadb import box_categories
from classification.megadb import staging as tables
from classification.megadb.database import insert, quoted, repeats
from classification.megadb.sources import open_bytes
from classification.runtime.errors import ArtifactError, in_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import duckdb

    from classification.megadb.staging import Staging
    from detection.records import Detection, ImageDetections

# What suits MegaDetector v5; its makers advise 0.8 for v4.
DEFAULT_THRESHOLD = 0.2

FAILED = "the detector failed on it, so it has no boxes yet"
UNKNOWN_NAME = "no image of the dataset has this name"
REPEATED = "an earlier image of the file has this name"

_BATCH_ROWS = 50_000
_DEEPEST = 32
_SUFFIX = ".json"
_IMAGES, _BOXES = "found_images", "found_boxes"
_SCRATCH = {
    _IMAGES: "row BIGINT, file VARCHAR, failure VARCHAR",
    _BOXES: "row BIGINT, place INTEGER, category VARCHAR, x DOUBLE, y DOUBLE, "
    "w DOUBLE, h DOUBLE",
}


@dataclass(frozen=True, slots=True)
class Options:
    """Which boxes are taken.

    Attributes:
        threshold: the least confidence, in [0, 1]. A box without one was drawn by a
            person and is always taken; one that was taken back never is.
    """

    threshold: float = DEFAULT_THRESHOLD


def is_megadetector(path: Path) -> bool:
    """Says whether a file seems to be a detections JSON, by its first images.

    Args:
        path: the file; ``.gz``, and a ``.zip`` of one ``.json``, are unpacked. One that
            cannot be read is none.
    """
    try:
        with open_bytes(path, _SUFFIX) as file:
            others, _ = _stream.read_lists(
                file, dict.fromkeys(("images", "annotations", "categories"), _tell)
            )
    except _ToldError as told:
        return told.is_megadetector
    except ArtifactError:
        return False
    return "detection_categories" in others


class _ToldError(Exception):
    """Ends the reading of a file, since its first element of a list tells what it is."""

    def __init__(self, *, is_megadetector: bool) -> None:
        super().__init__()
        self.is_megadetector = is_megadetector


class _Telling(msgspec.Struct):
    file: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_TELLING = msgspec.json.Decoder(list[_Telling])


def _tell(text: bytes, _: int) -> int:
    try:
        first = _TELLING.decode(text)[0]
    except msgspec.ValidationError:
        raise _ToldError(is_megadetector=False) from None
    raise _ToldError(is_megadetector=first.file is not msgspec.UNSET)


def read(source: Path, staging: Staging, options: Options | None = None) -> None:
    """Stages the boxes that a detector found in images that are staged already.

    Args:
        source: the file; ``.gz``, and a ``.zip`` of one ``.json``, are unpacked.
        staging: holds the images already; filled.
        options: which boxes are taken.

    Raises:
        ArtifactError: it is no detections JSON, with the address of what is wrong; or
            it has no image of the dataset, or there are several ways to read its names.
    """
    connection = staging.connection
    for table, columns in _SCRATCH.items():
        connection.execute(f"CREATE TABLE {table} ({columns})")
    with in_file(source):
        categories = _load(source, connection, options or Options())
        _match_images(connection, _find_prefix(connection))
    _list_left_out(connection, source.name)
    _replace_boxes(connection, _holds(categories))
    for table in (*_SCRATCH, "found_matched"):
        connection.execute(f"DROP TABLE {table}")


def _load(
    source: Path, connection: duckdb.DuckDBPyConnection, options: Options
) -> Mapping[str, str]:
    """Makes ``found_images`` and ``found_boxes``; returns the name of each category."""
    writer = _Writer(connection, options.threshold)
    with open_bytes(source, _SUFFIX) as file:
        header = detections.read_stream(file, writer.take)
    writer.flush()
    _refuse_unknown(connection, header.detection_categories)
    return header.detection_categories


class _Writer:
    """Images on their way into their tables."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, threshold: float) -> None:
        self._connection = connection
        self._threshold = threshold
        self._images: list[tuple[int, str, str | None]] = []
        self._boxes: list[tuple[int, int, Detection]] = []

    def take(self, images: Sequence[ImageDetections], first: int) -> None:
        """Takes some images, given the position of the first."""
        for row, image in enumerate(images, first):
            self._images.append((row, image.file, _failure(image)))
            self._boxes += [
                (row, place, box)
                for place, box in enumerate(image.detections or ())
                if box.conf is None or box.conf >= self._threshold
            ]
        if len(self._images) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes what waits into the tables."""
        import pyarrow as pa  # noqa: PLC0415 - takes a moment, and --help needs none of it

        rows, files, failures = (
            zip(*self._images, strict=True) if self._images else ((),) * 3
        )
        text = pa.string()
        images = {
            "row": pa.array(rows, pa.int64()),
            "file": pa.array(files, text),
            "failure": pa.array(failures, text),
        }
        sides = ("left", "top", "width", "height")
        boxes = {
            "row": pa.array([row for row, _, _ in self._boxes], pa.int64()),
            "place": pa.array([place for _, place, _ in self._boxes], pa.int32()),
            "category": pa.array([box.category for _, _, box in self._boxes], text),
            **{
                column: pa.array(
                    [getattr(box.bbox, side) for _, _, box in self._boxes], pa.float64()
                )
                for column, side in zip("xywh", sides, strict=True)
            },
        }
        file = "regexp_replace(replace(file, '\\', '/'), '^(\\./+)+', '')"
        for table, columns, cells in (
            (_IMAGES, images, f"* REPLACE ({file} AS file)"),
            (_BOXES, boxes, "*"),
        ):
            query = f"INSERT INTO {table} BY NAME SELECT {cells} FROM incoming"
            insert(self._connection, query, pa.table(columns))
        self._images, self._boxes = [], []


def _failure(image: ImageDetections) -> str | None:
    """Returns why an image has no boxes to go by, or None."""
    if image.failure or image.detections is None:
        return image.failure or "no detections"
    return None


def _refuse_unknown(
    connection: duckdb.DuckDBPyConnection, name_by_category: Mapping[str, str]
) -> None:
    known = ", ".join(map(quoted, name_by_category)) or "NULL"
    unknown = connection.execute(
        f"SELECT row, place, category FROM {_BOXES} "
        f"WHERE coalesce(category NOT IN ({known}), TRUE) ORDER BY row, place LIMIT 1"
    ).fetchall()
    for row, place, category in unknown:
        raise ArtifactError(
            f"{category!r} is not in detection_categories",
            where=f"images[{row}].detections[{place}].category",
        )


def _find_prefix(connection: duckdb.DuckDBPyConnection) -> str:
    """Returns the folders that the file puts before the dataset's names, with a ``/``."""
    if _has_matches(connection, ""):
        return ""
    found = [
        prefix for prefix in _shared(connection) if _has_matches(connection, prefix)
    ]
    if len(found) > 1:
        raise ArtifactError(
            f"its names fit the dataset's without {found[0]!r} and without {found[1]!r}, "
            "too; rename them, so that only one is right",
            where="images",
        )
    if not found:
        _refuse_strange(connection)
    return found[0]


def _has_matches(connection: duckdb.DuckDBPyConnection, prefix: str) -> bool:
    found = connection.execute(
        f"SELECT 1 FROM ({_stripped(prefix)}) SEMI JOIN {tables.IMAGES} USING (file) "
        "LIMIT 1"
    )
    return found.fetchone() is not None


def _stripped(prefix: str) -> str:
    """Returns SQL for the images whose names begin with a prefix, and go on without."""
    return (
        f"SELECT row, file[{len(prefix) + 1}:] AS file, failure FROM {_IMAGES} "
        f"WHERE starts_with(file, {quoted(prefix)})"
    )


def _shared(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """Returns the folders that stand before more than half of the names, shortest first."""
    prefixes: list[str] = []
    for depth in range(1, _DEEPEST):
        folder = f"array_to_string(string_split(file, '/')[:{depth}], '/') || '/'"
        found = connection.execute(
            f"SELECT {folder} AS folder FROM {_IMAGES} "
            f"WHERE starts_with(file, {quoted(prefixes[-1] if prefixes else '')}) "
            f"AND starts_with(file, {folder}) GROUP BY folder "
            f"HAVING 2 * count(*) > (SELECT count(*) FROM {_IMAGES})"
        ).fetchone()
        if found is None:
            break
        prefixes += found
    return prefixes


def _refuse_strange(connection: duckdb.DuckDBPyConnection) -> NoReturn:
    """Says that no image of the file is one of the dataset, with a name of each."""
    names = [
        connection.execute(f"SELECT min(file) FROM {table}").fetchall()[0][0]
        for table in (_IMAGES, tables.IMAGES)
    ]
    example = (
        ""
        if None in names
        else f"; it calls them as {names[0]!r}, the dataset as {names[1]!r}"
    )
    raise ArtifactError(f"it has no image of the dataset{example}", where="images")


def _match_images(connection: duckdb.DuckDBPyConnection, prefix: str) -> None:
    """Makes ``found_matched``: the images of the file that the dataset has, too."""
    connection.execute(
        f"""
        CREATE TABLE found_matched AS SELECT found.row, staged.id AS image_id, failure
        FROM ({_stripped(prefix)}) AS found JOIN (
            SELECT id, file FROM {tables.IMAGES}
            WHERE row NOT IN ({repeats(tables.IMAGES, "id", "file")})
        ) AS staged USING (file)
        WHERE found.row NOT IN ({repeats(_IMAGES, "file")})
        """
    )


def _list_left_out(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    connection.execute(
        f"""
        INSERT INTO {tables.SKIPPED} BY NAME
        SELECT $source || ': images[' || row || ']: ' || file
            || coalesce(': ' || failure, '') AS item,
            CASE WHEN row IN (SELECT row FROM found_matched) THEN '{FAILED}'
                WHEN row IN ({repeats(_IMAGES, "file")}) THEN '{REPEATED}'
                ELSE '{UNKNOWN_NAME}' END AS reason
        FROM {_IMAGES}
        WHERE row NOT IN (SELECT row FROM found_matched WHERE failure IS NULL)
        """,
        {"source": source},
    )


def _replace_boxes(connection: duckdb.DuckDBPyConnection, holds: str) -> None:
    """Stages the boxes that were found in place of those that their images had.

    Args:
        connection: where the tables are.
        holds: SQL for what a box of a ``category`` holds, null for nothing.
    """
    looked_at = "(SELECT row, image_id FROM found_matched WHERE failure IS NULL)"
    for table in (tables.BOXES, tables.BOXED):
        connection.execute(
            f"DELETE FROM {table} WHERE image_id IN (SELECT image_id FROM {looked_at})"
        )
    connection.execute(
        f"""
        INSERT INTO {tables.BOXES} BY NAME
        SELECT (SELECT coalesce(max(row) + 1, 0) FROM {tables.BOXES})
            + row_number() OVER (ORDER BY row, place, image_id) - 1 AS row, image_id,
            {holds} AS category, x, y, w, h, TRUE AS is_relative
        FROM {_BOXES} JOIN {looked_at} USING (row) WHERE {holds} IS NOT NULL
        """
    )
    connection.execute(
        f"INSERT INTO {tables.BOXED} BY NAME SELECT image_id FROM {looked_at}"
    )


def _holds(name_by_category: Mapping[str, str]) -> str:
    """Returns SQL for what a box of a ``category`` holds, null for nothing."""
    cases = " ".join(
        f"WHEN {quoted(category)} THEN {quoted(holds)}"
        for category, name in name_by_category.items()
        if (holds := box_categories.categorize(name))
    )
    return f"CASE category {cases} END" if cases else "NULL"
