from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from classification.runtime.errors import ModelError
from detection import detectors, models
from detection.detectors import Options, frozen_graph
from tests.detection.detectors.graphs import frozen, message

if TYPE_CHECKING:
    from pathlib import Path

HARMLESS = ("Placeholder", "Conv2D", "Identity")


def function(name: str, *operations: str) -> bytes:
    """Encodes a library of one function."""
    signature = message(1, message(1, name.encode()))
    nodes = b"".join(
        message(3, message(1, one.encode()) + message(2, one.encode()))
        for one in operations
    )
    return message(2, message(1, signature + nodes))


def calling(name: str, *, listed: bool) -> bytes:
    """Encodes a node of which an attribute is a function, or a list of functions."""
    call = message(10, message(1, name.encode()))
    if listed:
        call = message(1, message(9, message(1, name.encode())))
    attribute = message(5, message(1, b"f") + message(2, call))
    return message(1, message(1, b"caller") + message(2, b"Identity") + attribute)


def check(path: Path, data: bytes, *, trust: bool = False) -> None:
    path.write_bytes(data)
    frozen_graph.check(path, trust=trust)


def test_a_graph_that_computes_is_taken(tmp_path: Path) -> None:
    check(tmp_path / "m.pb", frozen(*HARMLESS))


@pytest.mark.parametrize(
    "operation",
    ["ReadFile", "WriteFile", "PyFunc", "SaveV2", "LoadLibrary", "conv2d", ""],
)
def test_an_operation_of_others_needs_trust(operation: str, tmp_path: Path) -> None:
    path = tmp_path / "m.pb"
    with pytest.raises(ModelError, match=rf"operation '{operation}'.*--trust-model"):
        check(path, frozen(*HARMLESS, operation))
    check(path, frozen(*HARMLESS, operation), trust=True)


@pytest.mark.parametrize(
    "data",
    [
        function("f", "Identity", "WriteFile"),
        calling("WriteFile", listed=False),
        calling("WriteFile", listed=True),
        message(1, message(2, b"WriteFile") + message(1, b"n")),
    ],
)
def test_it_is_found_wherever_it_is(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="'WriteFile'"):
        check(tmp_path / "m.pb", frozen(*HARMLESS) + data)


@pytest.mark.parametrize("data", [b"", b"nonsense", frozen("Identity")[:-1], b"\x22\0"])
def test_what_is_no_graph_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a frozen graph of MegaDetector"):
        check(tmp_path / "m.pb", data)


def test_it_is_read_before_the_package_is_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "m.pb"
    path.write_bytes(frozen("WriteFile"))
    with pytest.raises(ModelError, match="'WriteFile'"):
        detectors.load(models.resolve(str(path)), Options())


STATEFUL = """
import json, sys
from tensorflow.python.framework import op_def_registry
json.dump({name: op_def_registry.get(name).is_stateful for name in sys.argv[1:]}, sys.stdout)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("tensorflow") is None, reason="extra [tensorflow] is not installed"
)
def test_no_operation_of_the_list_has_to_do_with_files_or_programs() -> None:
    # In a process of its own: torch cannot load its compiler where TensorFlow is.
    done = subprocess.run(
        [sys.executable, "-c", STATEFUL, *sorted(frozen_graph.OPERATIONS)],
        stdout=subprocess.PIPE,
        check=True,
    )
    is_stateful = json.loads(done.stdout)
    assert is_stateful.keys() == frozen_graph.OPERATIONS
    stateful = {name for name, said in is_stateful.items() if said}
    assert {name for name in stateful if not name.startswith("TensorArray")} == {
        "Assert"
    }
