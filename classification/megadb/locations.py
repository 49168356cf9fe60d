"""What a location is, and with it which row of a dataset's table an image has."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from classification.artifacts import dataset_list
from classification.megadb import database

if TYPE_CHECKING:
    import duckdb

    from classification.artifacts.dataset_list import LocationRule

RULES: tuple[LocationRule, ...] = get_args(dataset_list.LocationRule)
COLUMN, SEQUENCE, DAY, FOLDER = RULES


def place_images(
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
