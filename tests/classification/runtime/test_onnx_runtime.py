from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from classification.runtime import onnx_runtime
from tests.commands import ROOT

if TYPE_CHECKING:
    import pytest


def test_its_reports_are_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    module = SimpleNamespace(disable_telemetry_events=lambda: calls.append("off"))
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    onnx_runtime.load.cache_clear()
    try:
        assert onnx_runtime.load() is onnx_runtime.load() is module
    finally:
        onnx_runtime.load.cache_clear()
    assert calls == ["off"]


def test_nobody_else_imports_it() -> None:
    imported = re.compile(r"^\s*(import onnxruntime|from onnxruntime)", re.MULTILINE)
    importing = [
        str(path.relative_to(ROOT))
        for package in ("classification", "detection")
        for path in (ROOT / package).rglob("*.py")
        if imported.search(path.read_text(encoding="utf-8"))
    ]
    assert importing == [str(Path("classification/runtime/onnx_runtime.py"))]
