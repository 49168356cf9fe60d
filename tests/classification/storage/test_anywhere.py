from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import ItemError
from classification.storage.anywhere import AnywhereStore
from tests.web import serving_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_name_is_a_path_or_an_address(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"image")
    store = AnywhereStore()
    with serving_folder(tmp_path) as web:
        for name in (str(tmp_path / "a.jpg"), f"{web.url}/a.jpg"):
            assert store.read(name) == b"image"
            assert store.exists(name)
        for name in (str(tmp_path / "b.jpg"), f"{web.url}/b.jpg"):
            with pytest.raises(ItemError, match="no such file"):
                store.read(name)
            assert not store.exists(name)
