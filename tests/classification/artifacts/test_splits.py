from __future__ import annotations

from typing import Any

import pytest

from classification.artifacts import splits
from classification.runtime.errors import ArtifactError

DOCUMENT: dict[str, Any] = {
    "train": [["d", "9"], ["d", 13]],
    "val": [],
    "test": [["e", "13"]],
}


def test_d9_locations_are_text_and_sorted_as_text() -> None:
    found = splits.from_dict(DOCUMENT)
    assert found.train == (("d", "13"), ("d", "9"))
    assert splits.to_dict(found)["train"] == [["d", "13"], ["d", "9"]]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {**DOCUMENT, "val": [["d", "13"]]},
            r"val\[0\]: \['d', '13'\] stands at train",
        ),
        ({**DOCUMENT, "val": None}, "val: a list of"),
        ({**DOCUMENT, "val": [["d"]]}, r"val\[0\]: \[dataset, location\] expected"),
        ({**DOCUMENT, "more": []}, "more: unknown key"),
    ],
)
def test_what_breaks_the_format(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        splits.from_dict(document)
