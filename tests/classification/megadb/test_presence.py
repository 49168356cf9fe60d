from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classification.cropping.existing import ExistingCrops
from classification.megadb.presence import find_missing
from classification.megadb.reading import MetadataStore
from classification.runtime.errors import StorageError
from classification.storage.holdings import FolderHoldings
from tests.world import write_store

FILES = ["d/1.jpg", "d/2.jpg", "e/1.jpg", "e/2.jpg"]


def missing(
    folder: Path,
    *,
    wanted: list[bool] | None = None,
    images_dir: Path | None = None,
    root: str | None = None,
) -> list[bool]:
    world = {"a": [{"file": file} for file in FILES]}
    store_dir = write_store(folder / "megadb", world, path_prefix="p")
    mask = np.array(wanted or [True] * len(FILES))
    with MetadataStore.open(store_dir, work_dir=folder) as store:

        def holdings_of(dataset: str) -> list[FolderHoldings]:
            folders = [] if images_dir is None else [images_dir / dataset]
            folders += [Path(root)] if root else []
            return [FolderHoldings(path, ExistingCrops(path)) for path in folders]

        return find_missing(store, mask, holdings_of).tolist()


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_the_datasets_root_is_looked_into(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "p/d/1.jpg", "p/e/2.jpg", "d/2.jpg")
    assert missing(tmp_path, root=str(root)) == [False, True, True, False]


def test_the_folder_of_all_datasets_comes_first(tmp_path: Path) -> None:
    images = touch(tmp_path / "images", "a/p/d/1.jpg", "p/d/2.jpg")
    assert missing(tmp_path, images_dir=images) == [False, True, True, True]
    root = touch(tmp_path / "root", "p/e/1.jpg")
    assert missing(tmp_path, images_dir=images, root=str(root)) == [
        False,
        True,
        False,
        True,
    ]


def test_only_wanted_images_are_looked_for(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "p/d/1.jpg")
    wanted = [True, False, True, False]
    assert missing(tmp_path, wanted=wanted, root=str(root)) == [
        False,
        False,
        True,
        False,
    ]
    assert missing(tmp_path, wanted=[False] * 4) == [False] * 4


def test_d10_a_folder_out_of_reach_is_no_empty_folder(tmp_path: Path) -> None:
    root = tmp_path / "unplugged"
    with pytest.raises(StorageError, match=r"no such folder: .*/unplugged, "):
        missing(tmp_path, root=str(root))
    images = touch(tmp_path / "images", "a/p/d/1.jpg")
    wanted = [True, False, False, False]
    assert not any(missing(tmp_path, wanted=wanted, images_dir=images, root=str(root)))
    with pytest.raises(StorageError, match=r"no such folder: .*/unplugged, "):
        missing(tmp_path, images_dir=images, root=str(root))


def test_d10_an_error_is_not_taken_for_an_absence(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "p/e/1.jpg")
    (root / "p/d").symlink_to("d")  # a loop: the system refuses to look
    with pytest.raises(StorageError, match=r"cannot look for .*/p/d/1\.jpg: "):
        missing(tmp_path, root=str(root))
