"""Makes docs/formats.md and docs/commands.md from the code: ``python -m tests.docs``."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil

import classification.artifacts
from tests.commands import COMMANDS, ROOT, parser

FORMATS_HEAD = """# Formats

Every file that one step leaves for another, from the module that owns it
(`classification/artifacts/`). Made by `python -m tests.docs`; a test compares.
"""
COMMANDS_HEAD = """# Commands

The help of every command. Each runs as `python -m classification.NAME` (or
`python classification/NAME.py`) and by its console name. Flags read `-` and `_` alike.
Made by `python -m tests.docs`; a test compares.

| exit code | meaning |
|---|---|
| 0 | done; failed items, if any, are counted in the last line and listed with their reason in the step log |
| 1 | known failure; one line says the thing, the rule and the way out |
| 2 | usage |
| 3 | a bug: traceback |
| 4 | done, but every item failed, or more than `--max-failures` allows |
| 130 | interrupted; finished items are kept, the next run goes on from there |
"""


def formats() -> str:
    """Returns docs/formats.md: the docstring of each module that owns a file."""
    names = sorted(
        m.name for m in pkgutil.iter_modules(classification.artifacts.__path__)
    )
    sections = [
        inspect.cleandoc(_doc(f"classification.artifacts.{name}"))
        for name in names
        if not name.startswith("_")
    ]
    titles = [name for name in names if not name.startswith("_")]
    return FORMATS_HEAD + "".join(
        f"\n## {title}\n\n{_fenced(section)}\n"
        for title, section in zip(titles, sections, strict=True)
    )


def commands() -> str:
    """Returns docs/commands.md: the help of each command."""
    os.environ["COLUMNS"] = "88"
    os.environ["NO_COLOR"] = "1"
    return COMMANDS_HEAD + "".join(
        f"\n## {name.rpartition('.')[2]}\n\n```text\n{parser(name).format_help().rstrip()}\n```\n"
        for name in COMMANDS
    )


def _doc(module: str) -> str:
    return importlib.import_module(module).__doc__ or ""


def _fenced(docstring: str) -> str:
    """Turns the indented block behind each ``::`` into a fenced one."""
    lines: list[str] = []
    inside = False
    for line in docstring.replace("``", "`").splitlines():
        if inside and line and not line.startswith(" "):
            while lines[-1] == "":
                lines.pop()
            lines += ["```", ""]
            inside = False
        lines.append(line.removeprefix("    ") if inside else line)
        if not inside and line.endswith("::"):
            lines[-1] = line[:-1] if line != "::" else ""
            lines += ["", "```text"]
            inside = True
    if inside:
        lines.append("```")
    return _without_gaps(_fence_tables("\n".join(lines)))


def _fence_tables(text: str) -> str:
    """Puts a fence around each table that is drawn with rules of ``=``."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        f"```text\n{part}\n```" if part.startswith("===") else part
        for part in paragraphs
    )


def _without_gaps(text: str) -> str:
    return text.replace("```text\n\n", "```text\n").replace("\n\n\n", "\n\n").strip()


if __name__ == "__main__":
    (ROOT / "docs/formats.md").write_text(formats(), encoding="utf-8")
    (ROOT / "docs/commands.md").write_text(commands(), encoding="utf-8")
