from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from classification.runtime import onnx_runtime
from classification.runtime.errors import ModelError
from tests.commands import ROOT
from tests.detection.detectors.graphs import red_detector

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGES = np.full((1, 3, 64, 64), 0.5, np.float32)


@pytest.mark.parametrize("package", ["classification.check_device", "detection.models"])
@pytest.mark.parametrize("said", [{}, {"ORT_DISABLE_TELEMETRY": "0"}])
def test_reports_are_off_before_anything_is_imported(
    package: str, said: Mapping[str, str]
) -> None:
    code = f"import os, {package}; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **said},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "1\n"


def test_nobody_else_imports_it() -> None:
    imported = re.compile(r"^\s*(import onnxruntime|from onnxruntime)", re.MULTILINE)
    importing = [
        str(path.relative_to(ROOT))
        for package in ("classification", "detection")
        for path in (ROOT / package).rglob("*.py")
        if imported.search(path.read_text(encoding="utf-8"))
    ]
    assert importing == [str(Path("classification/runtime/onnx_runtime.py"))]


def test_weights_beside_a_model_are_found_from_any_folder(tmp_path: Path) -> None:
    path = red_detector(tmp_path / "m.onnx", layers=2)
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="m.data",
        size_threshold=1024,
    )
    by_path = onnx_runtime.open_session(path)
    by_bytes = onnx_runtime.open_session(path.read_bytes(), folder=tmp_path)
    (expected,) = by_path.run(None, {"images": IMAGES})
    (found,) = by_bytes.run(None, {"images": IMAGES})
    assert found.tolist() == expected.tolist()
    assert found[0, 0, 4] == pytest.approx(0.5)


def test_a_file_of_the_runtime_s_own_format_is_no_model(tmp_path: Path) -> None:
    path = red_detector(tmp_path / "m.onnx")
    ort = onnx_runtime.load()
    settings = ort.SessionOptions()
    settings.optimized_model_filepath = str(tmp_path / "m.ort")
    settings.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    data = (tmp_path / "m.ort").read_bytes()
    assert data[4:8] == b"ORTM"
    with pytest.raises(Exception, match=r"INVALID_PROTOBUF|[Pp]arsing failed"):
        onnx_runtime.open_session(data, quiet=True)


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
def test_a_path_that_is_not_utf_8_is_refused_in_words(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    path = red_detector(folder / "m.onnx")
    with pytest.raises(ModelError, match="is not UTF-8"):
        onnx_runtime.open_session(path)
    assert onnx_runtime.open_session(path.read_bytes(), folder=folder)
