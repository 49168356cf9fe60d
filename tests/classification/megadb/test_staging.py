from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from classification.megadb import staging as tables
from classification.megadb.staging import Staging

if TYPE_CHECKING:
    from pathlib import Path


def test_columns_go_by_name_and_absent_ones_are_null(tmp_path: Path) -> None:
    with Staging.open(tmp_path) as staging:
        staging.add(tables.IMAGES, pa.table({"file": ["a.jpg"], "row": [7]}))
        staging.add(tables.IMAGES, pa.table({"row": [8], "id": ["x"]}).to_batches()[0])
        query = "SELECT row, id, file, width FROM staged_images ORDER BY row"
        assert staging.connection.execute(query).fetchall() == [
            (7, None, "a.jpg", None),
            (8, "x", None, None),
        ]


def test_the_tables_are_gone_after_the_block(tmp_path: Path) -> None:
    with Staging.open(tmp_path) as staging:
        staging.add(tables.BOXED, pa.table({"image_id": ["a"]}))
    assert list(tmp_path.iterdir()) == []
