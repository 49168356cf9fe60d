from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from classification.artifacts import included_labels
from taxonomy.graph import DatasetLabel

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_a_python_literal_with_everything_sorted(tmp_path: Path) -> None:
    path = tmp_path / included_labels.FILENAME
    bear = {DatasetLabel("idfg", "bear"), DatasetLabel("caltech", "black bear")}
    included_labels.write(path, {"empty": [DatasetLabel("a", "é|'x")], "bear": bear})
    text = path.read_text(encoding="utf-8")
    assert text == (
        "{'bear': {('caltech', 'black bear'), ('idfg', 'bear')},\n"
        " 'empty': {('a', \"é|'x\")}}\n"
    )
    assert ast.literal_eval(text)["bear"] == set(bear)
