from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.artifacts import dataset_list, image_list, queried_images
from classification.artifacts.dataset_list import DatasetEntry
from classification.artifacts.queried_images import QueriedImage
from classification.json_to_azcopy_list import main

if TYPE_CHECKING:
    from pathlib import Path

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def queried(tmp_path: Path) -> Path:
    names = ["caltech/p/a.jpg", "caltech/p/b.jpg", "wcs/c d.jpg", "wcs/e.jpg"]
    path = tmp_path / "run" / queried_images.FILENAME
    images = {
        name: QueriedImage(name.partition("/")[0], "elk", ("deer",)) for name in names
    }
    queried_images.write(path, images)
    for name in ("caltech/p/a.jpg", "wcs/c d.jpg", "wcs/e.jpg"):
        here = tmp_path / "images" / name
        here.parent.mkdir(parents=True, exist_ok=True)
        here.touch()
    return path


def run(queried: Path, *words: str) -> int:
    images = queried.parents[1] / "images"
    return main([str(queried), *words, "--images-dir", str(images)])


def test_what_is_not_here_is_listed_by_dataset(queried: Path, capsys: Capture) -> None:
    (queried.parents[1] / "images/wcs/c d.jpg").unlink()
    assert run(queried) == 0
    folder = queried.parent
    assert image_list.read_text(folder / "caltech_images.txt") == ["p/b.jpg"]
    assert image_list.read_text(folder / "wcs_images.txt") == ["c d.jpg"]
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        f"caltech\t1\t{folder / 'caltech_images.txt'}\t",
        f"wcs\t1\t{folder / 'wcs_images.txt'}\t",
    ]
    assert "2 of 4 images are not in" in captured.err


def test_a_list_of_nothing_is_empty(queried: Path, tmp_path: Path) -> None:
    output = tmp_path / "lists"
    assert run(queried, str(output)) == 0
    assert (output / "wcs_images.txt").read_bytes() == b""
    assert (output / "caltech_images.txt").read_bytes() == b"p/b.jpg\n"


def test_without_an_images_folder_all_is_missing(queried: Path, tmp_path: Path) -> None:
    assert main([str(queried), "--images-dir", str(tmp_path / "none")]) == 0
    assert (queried.parent / "wcs_images.txt").read_bytes() == b"c d.jpg\ne.jpg\n"


def test_d46_no_token_is_printed(
    queried: Path, tmp_path: Path, capsys: Capture
) -> None:
    megadb = tmp_path / "megadb"
    url = "https://example.blob.core.windows.net/caltech"
    entries = {
        "Caltech": DatasetEntry(container=f"{url}?sv=1&sig=SECRET"),
        "wcs": DatasetEntry(base_url="https://user:SECRET@example.org/wcs/"),
    }
    dataset_list.write(megadb, entries)
    assert run(queried, "--megadb", str(megadb)) == 0
    captured = capsys.readouterr()
    assert [line.split("\t")[3] for line in captured.out.splitlines()] == [
        url,
        "https://example.org/wcs/",
    ]
    assert "SECRET" not in captured.out + captured.err


def test_a_name_that_fits_on_no_line_is_said(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / queried_images.FILENAME
    image = QueriedImage("d", "elk", ("deer",))
    queried_images.write(path, {"d/a\nb.jpg": image, "d/c.jpg": image})
    assert main([str(path)]) == 0
    assert (tmp_path / "d_images.txt").read_bytes() == b"c.jpg\n"
    assert "d/a\\nb.jpg" in capsys.readouterr().err


def test_datasets_whose_lists_a_disk_takes_for_one_share_it(tmp_path: Path) -> None:
    names = ["idfg/a.jpg", "IDFG/b.jpg"]
    path = tmp_path / "run" / queried_images.FILENAME
    queried_images.write(
        path, {n: QueriedImage(n[:4], "elk", ("deer",)) for n in names}
    )
    assert run(path) == 0
    [written] = path.parent.glob("*.txt")
    assert sorted(image_list.read_text(written)) == ["a.jpg", "b.jpg"]


def test_a_dataset_that_no_list_can_be_called_after_ends_the_run(
    tmp_path: Path, capsys: Capture
) -> None:
    dataset = "x" * 250
    path = tmp_path / "run" / queried_images.FILENAME
    queried_images.write(
        path, {f"{dataset}/a": QueriedImage(dataset, "elk", ("deer",))}
    )
    assert run(path) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "is longer than 200 bytes" in line
