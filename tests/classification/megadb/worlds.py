"""What an importer may have staged, made by tests, and the table that it becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from classification.artifacts import image_table, left_out
from classification.megadb import finishing, locations
from classification.megadb import staging as tables
from classification.megadb.staging import Staging

if TYPE_CHECKING:
    from pathlib import Path

    from classification.artifacts.dataset_list import LocationRule
    from classification.megadb.finishing import Imported

Row = dict[str, Any]
NAME = "Caltech Traps"


class World:
    """What a test stages, finishes and reads back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, list[Row]] = {}

    def image(self, file: str | None, **known: object) -> None:
        row = len(self.rows.get(tables.IMAGES, ()))
        self.add(tables.IMAGES, {"row": row, "id": file, "file": file, **known})

    def label(self, image_id: str, label: str, level: str = "image") -> None:
        row = len(self.rows.get(tables.LABELS, ()))
        said = {"row": row, "image_id": image_id, "label": label, "level": level}
        self.add(tables.LABELS, said)

    def box(self, image_id: str, *numbers: float, relative: bool = False) -> None:
        row = len(self.rows.get(tables.BOXES, ()))
        said = dict(zip("xywh", numbers, strict=True), is_relative=relative)
        self.add(
            tables.BOXES,
            {"row": row, "image_id": image_id, "category": " Animal", **said},
        )

    def boxed(self, *image_ids: str) -> None:
        for image_id in image_ids:
            self.add(tables.BOXED, {"image_id": image_id})

    def add(self, table: str, row: Row) -> None:
        self.rows.setdefault(table, []).append(row)

    def finish(
        self, location_from: LocationRule = locations.COLUMN, *, threads: int = 2
    ) -> Imported:
        with Staging.open(self.folder, threads=threads) as staging:
            for table, rows in self.rows.items():
                names = dict.fromkeys(name for row in rows for name in row)
                staging.add(
                    table,
                    pa.table({n: [row.get(n) for row in rows] for n in names}),
                )
            return finishing.finish(
                staging, dataset=NAME, location_from=location_from, megadb=self.folder
            )

    def table(self) -> list[Row]:
        path = image_table.path_of(self.folder, NAME)
        rows: list[Row] = parquet.read_table(path).to_pylist()
        return rows

    def column(self, name: str) -> dict[str, Any]:
        return {row["file"]: row[name] for row in self.table()}

    def left_out(self) -> list[tuple[str, ...]]:
        return list(left_out.read(left_out.path_of(self.folder, NAME)))
