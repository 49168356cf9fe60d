"""A value that is too long ends the read of any file of JSON or CSV, packed or not."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from classification import import_metadata
from classification.artifacts import (
    _csv,
    _json,
    _limits,
    _stream,
    dataset_csv,
    detections,
    image_entries,
    image_list,
    label_index,
    predictions,
    queried_images,
    splits,
)
from classification.megadb import csv_rows, data_package
from classification.runtime.errors import ArtifactError
from tests.commands import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = 40_000  # bytes, in the place of 16 MiB
LONG = "a" * (SMALL + 1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_limits, "LONGEST", SMALL)


def detections_json(name: str = "x.jpg", **others: object) -> str:
    box = {"category": "1", "conf": 0.5, "bbox": [0, 0, 1, 1]}
    images = [{"file": f"{n}.jpg", "detections": [box]} for n in range(3)]
    return json.dumps(
        {
            "info": {"detector": "d"},
            "detection_categories": {"1": "animal"},
            "images": [*images, {"file": name, "detections": []}],
            **others,
        }
    )


def read_csv(path: Path) -> list[_csv.Row]:
    return list(_csv.read(path, columns=["a"]))


def read_batches(path: Path) -> list[Any]:
    return list(predictions.open_file(path).batches())


def read_table(path: Path) -> list[Any]:
    names = csv_rows.header(path, csv_rows.Form())
    return list(csv_rows.blocks(path, csv_rows.Form(), names, [0]))


DATASET_ROW = "d/x.jpg,d,here,animal,0.5,"
READERS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "detections, an image": (detections.open_file, detections_json(LONG), "images[3]"),
    "detections, info": (
        detections.open_file,
        detections_json(info={"detector": LONG}),
        "info",
    ),
    "queried images": (
        queried_images.open_file,
        json.dumps({"d/a.jpg": {"dataset": "d", "location": LONG}}),
        "d/a.jpg",
    ),
    "label index": (label_index.read, json.dumps({"0": LONG}), "byte 6"),
    "splits": (splits.read, json.dumps({"train": [["a", LONG]]}), "byte 17"),
    "image entries": (
        lambda path: list(image_entries.read(path)),
        json.dumps([{"a": LONG}]),
        "byte 7",
    ),
    "image list, JSON": (image_list.read_any, json.dumps(["a", LONG]), "byte 6"),
    "image list, text": (image_list.read_any, f"a\n{LONG}\n", "byte 3"),
    "small table": (read_csv, f"a,b\n1,{LONG}\n", "line 2"),
    "small table, header": (read_csv, f"a,{LONG}\n", "line 1"),
    "training set": (
        lambda path: list(dataset_csv.read(path)),
        f"{','.join(dataset_csv.COLUMNS)}\n{DATASET_ROW}{LONG}\n",
        "line 2",
    ),
    "probabilities": (read_batches, f"path,cat\na,0.5\nb{LONG},0.5\n", "line 3"),
    "probabilities, header": (read_batches, f"path,cat{LONG}\na,0.5\n", "line 1"),
    "metadata, header": (read_table, f"file,{LONG}\na,b\n", "line 1"),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", READERS)
def test_a_long_value_is_refused_with_its_address(name: str, tmp_path: Path) -> None:
    read, text, where = READERS[name]
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(ArtifactError, match="a value of more than") as caught:
        read(path)
    assert f"{where}: " in str(caught.value)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["probabilities", "metadata, header"])
def test_packed_files_are_no_exception(name: str, tmp_path: Path) -> None:
    read, text, where = READERS[name]
    path = tmp_path / "file.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(ArtifactError, match=re.escape(f"{where}: a value of more")):
        read(path)


@pytest.mark.usefixtures("small")
def test_a_package_in_a_zip_is_no_exception(tmp_path: Path) -> None:
    path = tmp_path / "package.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(data_package.FILENAME, json.dumps({"name": LONG}))
    with pytest.raises(ArtifactError, match="byte 9: a value of more"):
        data_package.open_package(path)


@pytest.mark.usefixtures("small")
def test_many_short_values_may_be_longer_together(tmp_path: Path) -> None:
    path = tmp_path / "file"
    names = [f"{number:09}.jpg" for number in range(10_000)]
    path.write_text(json.dumps(names))
    assert image_list.read_any(path) == names
    path.write_text("\n".join(names))
    assert image_list.read_any(path) == names
    path.write_text(json.dumps(list(range(50_000))))
    assert _json.parse(_json.read_bytes(path)) == list(range(50_000))
    path.write_text(json.dumps({'quoted \\" text': ['"' * 9_000, "\\" * 9_000] * 3}))
    assert list(_json.read_object(path)) == ['quoted \\" text']
    path.write_text("path,cat\n" + "".join(f"{name},0.5\n" for name in names))
    assert sum(len(batch.paths) for batch in read_batches(path)) == len(names)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("over", [0, 1])
def test_the_limit_is_exact(over: int) -> None:
    text = b'["' + b"a" * (SMALL - 2 + over) + b'"]'
    file = io.BytesIO(b'{"images":' + text + b"}")
    taken: list[int] = []

    def take(block: bytes, _: int) -> int:
        taken.append(len(json.loads(block)))
        return taken[-1]

    def read() -> None:
        _stream.read_object(file, "images", take)

    if over:
        with pytest.raises(ArtifactError, match=r"images\[0\]: a value of more"):
            read()
    else:
        read()
        assert taken == [1]


_MEASURED = """
import resource, sys, time
from pathlib import Path
from classification.artifacts import detections, predictions, splits
from classification.megadb import megadetector_boxes
from classification.runtime.errors import ArtifactError
import pyarrow.csv
reader, path = sys.argv[1], Path(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.process_time()
try:
    if reader == "splits":
        splits.read(path)
    elif reader == "predictions":
        list(predictions.open_file(path).batches())
    else:
        detections.open_file(path)
except ArtifactError as error:
    assert "more than 16 MiB" in str(error), error
else:
    sys.exit("it was read")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((peak - before) >> 10, time.process_time() - began)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in KiB there")
@pytest.mark.parametrize("reader", ["splits", "predictions", "detections"])
@pytest.mark.parametrize("filling", [b"a", b'\\"', b'"",', b"\n"])
def test_it_costs_little_to_refuse_a_long_value(
    reader: str, filling: bytes, tmp_path: Path
) -> None:
    if reader != "predictions" and filling in {b'"",', b"\n"}:
        pytest.skip("many short values, or no JSON")
    head, path = b'path,cat\nx"', tmp_path / "c.csv.gz"
    if reader != "predictions":
        head, path = b'{"info":{"detector":"', tmp_path / "f.json"
    pieces = filling * ((1 << 20) // len(filling))
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wb") as file:
        file.write(head)
        for _ in range(150):
            file.write(pieces)
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURED, reader, path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    megabytes, seconds = map(float, ended.stdout.split())
    assert megabytes < 150
    assert seconds < 2


def test_import_metadata_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "labels.csv.gz"
    row = b"b.jpg," + b"a" * (20 << 20) + b",here\n"
    path.write_bytes(gzip.compress(b"file,label,location\na.jpg,fox,x\n" + row))
    words = ["--megadb", tmp_path / "m", "--dataset", "d", "--logdir", tmp_path]
    columns = "file=file,label=label,location=location"
    line = [path, *words, "--columns", columns, "--images-dir", tmp_path]
    assert import_metadata.main(list(map(str, line))) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "labels.csv.gz: row 3: a row of more than 8 MiB" in said
