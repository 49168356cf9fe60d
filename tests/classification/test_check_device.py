"""check_device says what is there, whatever is not."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from classification import check_device

if TYPE_CHECKING:
    import pytest

ROOT = Path(check_device.__file__).parent.parent


def test_says_what_is_there(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("CAMERATRAPS_CACHE", str(tmp_path))
    assert check_device.main([]) == 0
    facts = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert facts["cache folder"] == str(tmp_path)
    assert facts["device"] in {"cpu", "cuda:0"}
    assert "CPUExecutionProvider" in facts["  providers"]
    assert facts["extra test"] == "installed"
    assert facts["torch"][0].isdigit()


def test_extras_are_those_of_pyproject() -> None:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = pyproject["project"]["optional-dependencies"]
    found = check_device.packages_by_extra()
    assert {"tensorflow", "test"} <= set(found) <= set(declared)
    assert found["tensorflow"] == ["tensorflow"]
    assert "pytest" in found["test"]


def test_works_where_torch_cannot_be_imported(tmp_path: Path) -> None:
    for module in ("torch", "onnxruntime"):
        (tmp_path / f"{module}.py").write_text("raise ImportError('broken\\nhere')")
    done = subprocess.run(
        [sys.executable, "-m", "classification.check_device"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert r"torch: cannot be imported (broken\nhere)" in lines
    assert "device: cpu, for ONNX models alone" in lines
    assert r"ONNX Runtime: cannot be imported (broken\nhere)" in lines
    assert any(line.startswith("extra test: ") for line in lines)


def test_nothing_is_said_of_extras_where_the_package_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(check_device, "DISTRIBUTION", "no-such-distribution")
    assert check_device.packages_by_extra() == {}
