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

FOLDER = str(Path(__file__).parent)

if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (FOLDER, os.environ.get("PYTHONPATH")))
    )
    sys.modules.pop("sitecustomize", None)  # the system's own
    importlib.import_module("sitecustomize")
