from __future__ import annotations

import pytest

from classification.megadb.box_categories import categorize


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("Animal", "animal"),
        ("bobcat", "animal"),
        ("person", "person"),
        ("car", "vehicle"),
    ],
)
def test_a_box_holds_one_of_few_kinds(name: str, category: str) -> None:
    assert categorize(name) == category
