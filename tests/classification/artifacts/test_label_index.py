from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classification.artifacts import label_index
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path


@given(st.lists(st.text(min_size=1), unique=True))
def test_from_dict_is_the_inverse_of_to_dict(names: list[str]) -> None:
    assert label_index.from_dict(label_index.to_dict(names)) == tuple(names)


def test_the_numbers_count_not_the_order_of_the_file() -> None:
    assert label_index.from_dict({"1": "deer", "0": "bear"}) == ("bear", "deer")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"1": "a"}, "0: expected a name for each id from 0 on"),
        ({"0": "a", "2": "b"}, "1: expected a name for each id from 0 on"),
        ({"0": "a", "x": "b"}, "1: expected a name for each id from 0 on"),
        ({"00": "a"}, "0: expected a name for each id from 0 on"),
        ({"0": ""}, "0: expected a name for each id from 0 on"),
        ({"0": 3}, "0: expected a name for each id from 0 on"),
        ({"0": None}, "0: expected a name for each id from 0 on"),
        ({"0": "a", "1": "a"}, "1: the name 'a' stands twice"),
    ],
)
def test_what_is_no_label_index_is_refused(
    document: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError) as refused:
        label_index.from_dict(document)
    assert str(refused.value) == message


def test_a_file_round_trips(tmp_path: Path) -> None:
    path = tmp_path / label_index.FILENAME
    label_index.write(path, ["bear", "\u00e9lan"])
    assert (
        path.read_text(encoding="utf-8") == '{\n "0": "bear",\n "1": "\u00e9lan"\n}\n'
    )
    assert label_index.read(path) == ("bear", "\u00e9lan")


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"0": "a", "0": "b"}')
    with pytest.raises(ArtifactError) as refused:
        label_index.read(path)
    assert str(refused.value) == f"{path}: 0: key appears twice"


def test_an_evaluation_has_its_index_beside_it_or_above(tmp_path: Path) -> None:
    logdir = tmp_path / "run" / "20261122_204715"
    logdir.mkdir(parents=True)
    assert label_index.find(logdir) is None
    above, beside = (
        folder / label_index.FILENAME for folder in (logdir.parent, logdir)
    )
    for path in (above, beside):
        label_index.write(path, ["bear"])
        assert label_index.find(logdir) == path
