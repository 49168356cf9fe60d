"""The boxes that people drew into the images of a COCO Camera Traps file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from classification.artifacts.queried_images import QueriedBox
from classification.megadb import (
    box_fractions,
    coco_camera_traps,
    image_faults,
    locations,
)
from classification.megadb.coco_camera_traps import Options
from classification.megadb.staging import Staging
from classification.runtime import scratch
from detection.boxes import Box

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

_ROWS = 100_000


def read(source: Path) -> dict[str, tuple[QueriedBox, ...]]:
    """Returns the boxes of each image whose boxes are all drawn, be there none.

    Args:
        source: the file, as for ``coco_camera_traps.read``. It is taken as a bounding-box
            file: an image without an animal needs no box.

    Returns:
        By the file's name, in sorted order.

    Raises:
        ArtifactError: it is no such file; with the address of what is wrong.
    """
    with (
        scratch.folder("ct-boxes-") as folder,
        Staging.open(folder) as staging,
    ):
        coco_camera_traps.read(source, staging, Options(boxes=False))
        coco_camera_traps.read_boxes(source, staging)
        image_faults.find(staging.connection)
        locations.place_images(staging.connection, "column")
        box_fractions.place_boxes(staging.connection)
        return _gather(staging.connection)


def _gather(
    connection: duckdb.DuckDBPyConnection,
) -> dict[str, tuple[QueriedBox, ...]]:
    found: dict[str, list[QueriedBox]] = {}
    rows = connection.execute(
        "SELECT file, category, x, y, w, h FROM boxed JOIN images USING (place) "
        "LEFT JOIN boxes USING (place) ORDER BY file, boxes.row"
    )
    while block := rows.fetchmany(_ROWS):
        for file, category, *numbers in block:
            boxes = found.setdefault(file, [])
            if category is not None:
                boxes.append(QueriedBox(category, Box(*numbers)))
    return {file: tuple(boxes) for file, boxes in found.items()}
