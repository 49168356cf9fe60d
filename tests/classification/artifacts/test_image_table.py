from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from classification.artifacts import image_table
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator


def rows(count: int) -> list[dict[str, Any]]:
    box = {"category": "animal", "bbox": [0.1, 0.2, 0.3, 0.4]}
    return [
        {
            "dataset": "x",
            "file": f"{number:06d}.jpg",
            "labels": ["elk"],
            "boxes": [box] * (number % 3) if number % 4 else None,
        }
        for number in range(count)
    ]


def batches(count: int, size: int) -> Iterator[pa.RecordBatch]:
    table = pa.Table.from_pylist(rows(count), image_table.schema())
    return iter(table.to_batches(max_chunksize=size))


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert image_table.write(path, batches(10, 3)) == 10
    read = parquet.read_table(path)
    assert read.schema.equals(image_table.schema())
    assert (
        read.to_pylist()
        == pa.Table.from_pylist(rows(10), image_table.schema()).to_pylist()
    )


def test_bytes_do_not_depend_on_the_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_table, "_GROUP_ROWS", 40)
    written = set()
    for size in (1, 7, 40, 1000):
        path = tmp_path / f"{size}.parquet"
        image_table.write(path, batches(100, size))
        written.add(path.read_bytes())
        groups = parquet.ParquetFile(path).metadata
        sizes = [groups.row_group(place).num_rows for place in range(3)]
        assert sizes == [40, 40, 20]
    assert len(written) == 1


def test_a_table_without_rows_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    assert image_table.write(path, []) == 0
    assert parquet.read_table(path).num_rows == 0


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches(3, 1)
        raise KeyError

    with pytest.raises(KeyError):
        image_table.write(tmp_path / "x.parquet", broken())
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_dataset_is_that_of_a_file() -> None:
    store = Path("megadb")
    expected = store / "Snapshot Serengeti 1.0.parquet"
    assert image_table.path_of(store, "Snapshot Serengeti 1.0") == expected


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "names no file"),
        ("..", "leaves its folder"),
        ("../x", "leaves its folder"),
        ("a/b", "names more than one folder"),
        ("a\\b", "holds a backslash; names use /"),
        ("a\0", "holds a NUL"),
    ],
)
def test_d43_a_dataset_stays_in_its_store(name: str, reason: str) -> None:
    with pytest.raises(ArtifactError) as refusal:
        image_table.path_of(Path("megadb"), name)
    assert str(refusal.value) == f"megadb: {name!r} {reason}"
