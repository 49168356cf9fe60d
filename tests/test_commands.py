"""What is true of every command, checked for each from pyproject's own list."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import runpy
import shlex
import subprocess
import sys
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

import pytest

from classification.runtime import cli
from tests.commands import COMMANDS, PACKAGES, ROOT, SCRIPTS, command, find, parser

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "onnxruntime",
    "pyarrow",
    "pandas",
    "jinja2",
    "tensorflow",
)
# Lines for other programs, such as mypy, are among them.
USERS_LINES = [
    line
    for line in (ROOT / "tests/golden/command_lines.txt")
    .read_text(encoding="utf-8")
    .splitlines()
    if line.startswith("python ")
]


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def has_main_guard(path: Path) -> bool:
    return any(
        isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


def arguments_of(name: str) -> list[argparse.Action]:
    return [action for action in parser(name)._actions if action.dest != "help"]


def test_every_script_is_a_console_entry_point() -> None:
    guarded = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sources()
        if has_main_guard(path)
    }
    assert guarded == set(COMMANDS)


def test_console_names_follow_the_modules() -> None:
    for console_name, target in SCRIPTS.items():
        module = target.removesuffix(":main").rpartition(".")[2]
        assert console_name == "ct-" + module.replace("_", "-")


@pytest.mark.parametrize("name", COMMANDS)
def test_has_the_shape_of_a_command(name: str) -> None:
    module = command(name)
    assert callable(module.run)
    assert list(inspect.signature(module.main).parameters) == ["argv"]
    declared = {action.dest for action in arguments_of(name)}
    assert declared == set(module.Arguments.__annotations__)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(name: str) -> None:
    assert all(action.help for action in arguments_of(name))
    description = parser(name).description or ""
    assert len(description.splitlines()) > 2


@pytest.mark.parametrize("name", COMMANDS)
def test_help_from_any_folder_loads_nothing_heavy(name: str, tmp_path: Path) -> None:
    script = ROOT / (name.replace(".", "/") + ".py")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(script), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    # Nothing but the interpreter's own lines: "import time: self | cumulative | name".
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("import time:")] == []
    loaded = {line.rpartition("|")[2].strip() for line in lines}
    assert "classification.runtime.cli" in loaded
    assert loaded & set(HEAVY) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_runs_as_a_module(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(SystemExit) as ending:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert ending.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag_is_a_usage_error(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ending:
        command(name).main(["--no-such-flag"])
    assert ending.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_read_dash_and_underscore_alike(name: str) -> None:
    built = parser(name)
    assert isinstance(built, cli.Parser)
    spelled_alike = [flag.replace("_", "-") for flag in built._option_string_actions]
    assert len(spelled_alike) == len(set(spelled_alike))


@pytest.mark.parametrize("line", USERS_LINES)
def test_a_line_from_users_notes_still_parses(line: str) -> None:
    words = shlex.split(line)
    name = find(words[1])
    assert name is not None
    positional = {a.dest: a for a in arguments_of(name) if not a.option_strings}
    checked = parser(name)
    for action in checked._actions:
        action.type = _without_files(action)
    parsed = checked.parse_args(words[2:])
    assert all(getattr(parsed, dest) is not None for dest in positional)


def _without_files(action: argparse.Action) -> object:
    """Returns the action's type, or str where the type looks at the disk."""
    name = getattr(action.type, "__name__", "")
    return str if name.startswith("existing_") else action.type


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_hides_another_when_run_by_path(package: str) -> None:
    taken = set(sys.stdlib_module_names) | set(packages_distributions()) | set(PACKAGES)
    own = {module.name for module in pkgutil.iter_modules([str(ROOT / package)])}
    assert own & (taken - {package}) == set()


def test_no_module_imports_a_command() -> None:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            assert not set(names) & set(COMMANDS), path
