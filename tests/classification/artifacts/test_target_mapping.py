from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from classification.artifacts import target_mapping
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


def test_targets_keep_their_order_and_labels_are_sorted(tmp_path: Path) -> None:
    path = tmp_path / target_mapping.FILENAME
    target_mapping.write(path, {"deer": ("b", "a"), "bird": (), "other": ["c"]})
    assert (
        path.read_text()
        == json.dumps({"deer": ["a", "b"], "other": ["c"]}, indent=1) + "\n"
    )
    assert target_mapping.read(path) == {"deer": ("a", "b"), "other": ("c",)}


def test_an_empty_target_is_read() -> None:
    assert target_mapping.from_dict({"deer": [], "x": ["a"]}) == {
        "deer": (),
        "x": ("a",),
    }


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"": ["a"]}, "a target without a name"),
        ({"deer": "a"}, "deer: expected a list of classifier labels"),
        ({"deer": ["a", 1]}, "deer[1]: expected the name of a label"),
        ({"deer": [""]}, "deer[0]: expected the name of a label"),
        ({"deer": ["a", "a"]}, "deer[1]: 'a' stands under 'deer' already"),
        ({"deer": ["a"], "elk": ["b", "a"]}, "elk[1]: 'a' stands under 'deer' already"),
    ],
)
def test_refuses(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError) as refusal:
        target_mapping.from_dict(document)
    assert str(refusal.value) == message
