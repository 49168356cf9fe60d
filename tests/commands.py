"""Every command of the project, read from pyproject's own list."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from types import ModuleType

ROOT = Path(__file__).parent.parent
PACKAGES = ("classification", "detection", "taxonomy")
PYPROJECT: dict[str, Any] = tomllib.loads(
    (ROOT / "pyproject.toml").read_text(encoding="utf-8")
)
SCRIPTS: dict[str, str] = PYPROJECT["project"]["scripts"]
COMMANDS = sorted(target.removesuffix(":main") for target in SCRIPTS.values())

# What an older note may call a command, and what it is called here.
ALIASES = {
    "run_tf_detector_batch": "run_detector_batch",
    "torch_test": "check_device",
}


def command(name: str) -> ModuleType:
    """Imports a command by its dotted name."""
    return importlib.import_module(name)


def parser(name: str) -> argparse.ArgumentParser:
    """Returns the parser of a command."""
    built: argparse.ArgumentParser = command(name).build_parser()
    return built


def find(script: str) -> str | None:
    """Returns the dotted name of the command that a note calls ``script``.

    Args:
        script: such as ``detection/run_detector_batch.py``, ``../a/x.py``,
            ``classification.x`` or ``ct-x``.
    """
    stem = script.removesuffix(".py").rpartition("/")[2].rpartition(".")[2]
    stem = stem.removeprefix("ct-").replace("-", "_")
    stem = ALIASES.get(stem, stem)
    return next((name for name in COMMANDS if name.rpartition(".")[2] == stem), None)
