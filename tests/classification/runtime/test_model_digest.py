from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from classification.runtime.errors import ModelError
from classification.runtime.model_digest import digest_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A network whose weights lie in a file of their own."""
    weights = numpy_helper.from_array(np.arange(999, dtype=np.float32), "w")
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [999])
        for name in ("x", "y")
    ]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        sides[:1],
        sides[1:],
        [weights],
    )
    path = tmp_path / "m.onnx"
    onnx.save(
        helper.make_model(graph),
        path,
        save_as_external_data=True,
        location="m.data",
        size_threshold=1,
    )
    return path


def test_one_file_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "m.pb"
    path.write_bytes(b"graph")
    assert digest_of(path) == hashlib.sha256(b"graph").hexdigest()


def test_weights_in_a_file_of_their_own_count(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest_of(model)
    (model.parent / "elsewhere").mkdir()
    monkeypatch.chdir(model.parent / "elsewhere")
    assert digest_of(model) == before
    assert digest_of(Path("../m.onnx")) == before
    weights = model.parent / "m.data"
    weights.write_bytes(weights.read_bytes()[::-1])
    assert digest_of(model) != before
    weights.unlink()
    with pytest.raises(ModelError, match=r"'m\.data', which is not there"):
        digest_of(model)


def test_another_folder_is_the_same_model(model: Path, tmp_path: Path) -> None:
    before = digest_of(model)
    moved = tmp_path / "other/n.onnx"
    moved.parent.mkdir()
    (tmp_path / "m.data").rename(moved.parent / "m.data")
    model.rename(moved)
    assert digest_of(moved) == before


def test_a_model_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^cannot read .*m\.pt: No such file"):
        digest_of(tmp_path / "m.pt")
