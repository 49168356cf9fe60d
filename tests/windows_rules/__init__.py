"""A pytest plugin: the tests see the rules of Windows, as far as Linux can follow them.

::

    python -m pytest -p tests.windows_rules tests/classification/test_crop_detections.py

``sitecustomize.py`` says which rules. They hold in the processes that tests start, too.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

# Parts of the names of tests that need what Windows, or Linux under its rules, has not.
LEFT_OUT = (
    "refuse_has_a_problem[a",  # a file whose name holds a backslash
    "test_hostile_names_are_text",  # files whose names hold < and "
    "test_freed_blocks_go_back",  # the GNU C library
)

FOLDER = str(Path(__file__).parent)

if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (FOLDER, os.environ.get("PYTHONPATH")))
    )
    sys.modules.pop("sitecustomize", None)  # the system's own
    importlib.import_module("sitecustomize")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out what cannot be."""
    left_out = [item for item in items if any(part in item.name for part in LEFT_OUT)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
