"""The drawing of the house is whole: import-linter knows the floor of every room."""

from __future__ import annotations

from tests.commands import COMMANDS, PACKAGES, PYPROJECT, ROOT

FLOORS = PYPROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
ON_A_FLOOR = {name.strip() for floor in FLOORS for name in floor.split("|")}


def rooms() -> set[str]:
    """Returns the modules and folders at the top of each package."""
    return {
        f"{package}.{path.stem}"
        for package in PACKAGES
        for path in (ROOT / package).iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    } - {f"{package}.__init__" for package in PACKAGES}


def test_every_room_stands_on_a_floor() -> None:
    assert rooms() == ON_A_FLOOR


def test_the_commands_are_the_top_floor() -> None:
    assert {name.strip() for name in FLOORS[0].split("|")} == set(COMMANDS)


def test_every_room_of_classification_is_in_the_newcomers_table() -> None:
    table = (ROOT / "classification/__init__.py").read_text(encoding="utf-8")
    for room in rooms() - set(COMMANDS):
        package, _, name = room.partition(".")
        if package == "classification":
            assert f"``{name}/``" in table, room


def test_every_module_has_a_test_module_of_its_name() -> None:
    tested = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if path.stem != "__init__":
                assert f"test_{path.stem.removeprefix('_')}.py" in tested, path
