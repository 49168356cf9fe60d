from __future__ import annotations

from classification.runtime import tables


def test_numbers_are_set_to_the_right_and_text_to_the_left() -> None:
    rows = [("name", "images"), ("a\n", 7), ("caltech", 1234)]
    assert list(tables.align(rows)) == [
        "name     images",
        "a\\n           7",
        "caltech    1234",
    ]
