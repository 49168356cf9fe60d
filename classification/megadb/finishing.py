"""From what an importer has staged to the table of a dataset.

Here, and in the modules that this one calls, is decided for every standard alike which
images, labels and boxes a dataset's table holds, and what a location is. Everything that
is left out is listed with its reason. Nothing depends on the number of threads: every row has its place by its file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.artifacts import image_table, left_out
from classification.artifacts.left_out import LeftOut
from classification.megadb import box_fractions, image_faults, locations, table_rows
from classification.megadb import staging as tables
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import duckdb

    from classification.artifacts.dataset_list import LocationRule
    from classification.megadb.staging import Staging

UNKNOWN_ID = "no image has this id"
# Rows of the list of what was left out that are read at a time.
_ROWS = 200_000
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
    image_faults.find(staging.connection)
    locations.place_images(staging.connection, location_from)
    _place_labels(staging.connection)
    box_fractions.place_boxes(staging.connection)
    _list_left_out(staging.connection)
    imported = _count(staging.connection)
    left_out.write(listed, _left_out(staging.connection))
    rows = table_rows.batches(staging.connection, dataset, imported.images)
    image_table.write(table, rows)
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


def _place_labels(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes ``labels``: each with its name and the place of its image."""
    tables.make_names(connection, "names", tables.LABELS, "label")
    connection.execute(
        """
        CREATE TABLE labels AS
        SELECT row, place, level, name, CASE WHEN place IS NULL THEN image_id END AS id
        FROM (SELECT * FROM staged_labels JOIN names USING (label) WHERE name <> '')
        LEFT JOIN (SELECT id AS image_id, place FROM images) USING (image_id)
        """
    )


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
