"""The conda environments name what pyproject names, so that no list goes stale."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.commands import PYPROJECT, ROOT

PROJECT: dict[str, Any] = PYPROJECT["project"]


def packages(environment: str) -> tuple[str, list[str]]:
    """Returns the name of a conda environment and what pip installs in it."""
    text = (ROOT / environment).read_text(encoding="utf-8")
    name = re.search(r"^name: (\S+)$", text, re.MULTILINE)
    assert name is not None
    return name[1], re.findall(r'^      - "?([^"\n]+)', text, re.MULTILINE)


@pytest.mark.parametrize(
    ("environment", "name", "extras"),
    [
        ("environment-classifier.yml", "cameratraps-classifier", []),
        ("environment-detector.yml", "cameratraps-detector", ["tensorflow"]),
    ],
)
def test_environment_lists_what_pyproject_lists(
    environment: str, name: str, extras: list[str]
) -> None:
    wanted = list(PROJECT["dependencies"])
    for extra in extras:
        wanted += PROJECT["optional-dependencies"][extra]
    assert packages(environment) == (name, sorted(wanted))


def test_environments_ask_for_the_same_python() -> None:
    for environment in ("environment-classifier.yml", "environment-detector.yml"):
        text = (ROOT / environment).read_text(encoding="utf-8")
        assert f"- python{PROJECT['requires-python']}\n" in text
