"""Making something of each image of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import ItemError
from classification.storage.each import read_each
from classification.storage.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


def length(data: bytes) -> int:
    if not data:
        raise ItemError("empty")
    return len(data)


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_order_is_kept_and_faults_are_values(
    tmp_path: Path, threads: int | None
) -> None:
    for name, size in (("b", 2), ("a", 1), ("none", 0)):
        (tmp_path / name).write_bytes(b"x" * size)
    names = ["b", "gone", "none", "a", "b"]
    found = list(read_each(names, LocalStore(tmp_path), length, threads=threads))
    assert [name for name, _ in found] == names
    assert [one for _, one in found if not isinstance(one, ItemError)] == [2, 1, 2]
    assert [isinstance(one, ItemError) for _, one in found] == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_what_is_no_fault_of_an_item_is_raised(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(ZeroDivisionError):
        list(read_each(["a"], LocalStore(tmp_path), lambda _: 1 // 0))
