"""The documents are true: what they say of the code is compared with the code."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from tests import docs
from tests.commands import COMMANDS, ROOT, SCRIPTS, find, parser

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def command_lines(document: Path) -> list[str]:
    """Returns every shell line of a document that calls one of our commands."""
    text = document.read_text(encoding="utf-8")
    lines: list[str] = []
    for block in re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.DOTALL):
        joined = block.replace("\\\n", " ")
        for line in joined.splitlines():
            lines += [part.strip() for part in line.split("&&") if _script(part)]
    return lines


def _script(line: str) -> str:
    """Returns the word of a shell line that names a command of ours, or ''."""
    words = shlex.split(line, comments=True)
    if words and words[0].rpartition("/")[2] in SCRIPTS:
        return words[0].rpartition("/")[2]
    if words and words[0].rpartition("/")[2] in ("python", "python3"):
        script = words[2] if words[1:2] == ["-m"] and len(words) > 2 else words[1]
        return script if find(script) else ""
    return ""


LINES = [(path.name, line) for path in DOCUMENTS for line in command_lines(path)]


def test_formats_md_is_what_the_modules_say() -> None:
    written = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    assert written == docs.formats(), "run: python -m tests.docs"


def test_commands_md_is_what_the_parsers_say() -> None:
    written = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert written == docs.commands(), "run: python -m tests.docs"


@pytest.mark.parametrize(("document", "line"), LINES)
def test_a_documented_line_parses(document: str, line: str) -> None:
    script = _script(line)
    words = shlex.split(line, comments=True)
    arguments = words[words.index(next(w for w in words if w.endswith(script))) + 1 :]
    name = find(script)
    assert name is not None, document
    built = parser(name)
    for action in built._actions:
        if getattr(action.type, "__name__", "").startswith("existing_"):
            action.type = str
    built.parse_args(arguments)


def test_readme_shows_every_command_of_the_main_job() -> None:
    shown = {find(_script(line)) for name, line in LINES if name == "README.md"}
    helpers = {"classification.csv_to_json", "taxonomy.taxonomy_csv_checker"}
    assert set(COMMANDS) - helpers <= shown


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not target.startswith(("http:", "https:")):
                assert (document.parent / target).exists(), f"{document.name}: {target}"
