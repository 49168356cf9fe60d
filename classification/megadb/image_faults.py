"""Which of the images that an importer has staged a dataset cannot have, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts import layout
from classification.megadb import database
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    import duckdb

NOT_AN_IMAGE = "not an image file"
_EXTENSIONS = "|".join(sorted(suffix[1:] for suffix in layout.IMAGE_EXTENSIONS))
_NAME_FAULT = "ct_name_fault"


def find(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes ``faults``: the row of each image that is left out, and why."""
    # What this takes for a plain name, checked_name and is_image_name take, too; the
    # others are asked one by one.
    plain = (
        r"regexp_matches(file, '[^/.]\.(?i:" + _EXTENSIONS + ")$') "
        r"AND NOT regexp_matches(file, '^/|\\|:|\x00|\.\.')"
    )
    with database.function(connection, _NAME_FAULT, _name_fault):
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
    connection.execute(
        "INSERT INTO faults WITH sound AS (SELECT row, id, file FROM staged_images "
        "ANTI JOIN faults USING (row)) "
        f"SELECT row, '{reason}' FROM ({database.repeats('sound', column)})"
    )


def _name_fault(file: str) -> str:
    """Returns why a file cannot be an image of a dataset, or an empty text."""
    try:
        layout.checked_name(file)
    except ArtifactError as error:
        # What follows in brackets is advice on another command.
        return error.message.removeprefix(f"{file!r} ").partition(" (")[0]
    return "" if layout.is_image_name(file) else NOT_AN_IMAGE
