"""Boxes as fractions of their image, and the images whose boxes are all drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.megadb import staging as tables
from detection.boxes import OVERHANG

if TYPE_CHECKING:
    import duckdb

CUT = "reaches out of its image; cut at the edge"


def place_boxes(connection: duckdb.DuckDBPyConnection) -> None:
    """Makes ``boxes``, in fractions of their image, and ``boxed`` images."""
    tables.make_names(connection, "categories", tables.BOXES, "category")
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
