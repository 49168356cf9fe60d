"""The drawing of the house is whole: import-linter knows the floor of every room."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.commands import COMMANDS, PACKAGES, PYPROJECT, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def test_every_module_has_a_test_module_at_its_place() -> None:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if path.stem != "__init__":
                folder = ROOT / "tests" / path.parent.relative_to(ROOT)
                name = f"test_{path.stem.removeprefix('_')}.py"
                assert (folder / name).is_file(), path


# Functions of others that write to a path they are given, by their last name.
WRITERS = frozenset(
    [
        "write_text",
        "write_bytes",
        "touch",
        "mkstemp",
        "NamedTemporaryFile",
        "symlink_to",
        "hardlink_to",
        "urlretrieve",
        "extractall",
        "savetxt",
        "savez",
        "savez_compressed",
        "tofile",
        "to_csv",
        "to_json",
        "to_parquet",
        "savefig",
        "save",
        "save_file",
        "ParquetWriter",
        "SummaryWriter",
    ]
)
# Those that write to a path or to an open file, as what they are given tells.
WRITERS_OF_EITHER = {
    *("json.dump", "pickle.dump", "parquet.write_table", "os.replace", "os.write"),
    *("os.rename", "os.renames", "os.link", "os.symlink", "shutil.move"),
}
WRITING = frozenset("wax+")
INTO_REPLACING = "into the file of replacing"
APPENDED = "records with checks; a torn end is cut off"
# Where a file is written otherwise than by ``atomic.replacing``, and why that is right.
OTHERWISE = {
    ("classification/artifacts/crop_record.py", "os.open"): "read only",
    ("classification/artifacts/_npz.py", "ZipFile w"): INTO_REPLACING,
    ("classification/artifacts/_npz.py", "open w"): INTO_REPLACING,
    ("classification/artifacts/image_contents.py", "GzipFile wb"): INTO_REPLACING,
    ("classification/artifacts/image_table.py", "ParquetWriter"): INTO_REPLACING,
    ("classification/artifacts/predictions.py", "GzipFile wb"): INTO_REPLACING,
    ("classification/cropping/harvest.py", "save"): "into memory",
    ("classification/cropping/jpeg.py", "symlink_to"): "in a temporary folder",
    ("classification/modeling/board.py", "SummaryWriter"): APPENDED,
    ("classification/modeling/crop_cache.py", "open r+b"): APPENDED,
    ("classification/modeling/crop_cache.py", "touch"): APPENDED,
    ("classification/modeling/export.py", "save"): "into memory",
    ("classification/modeling/networks.py", "save"): INTO_REPLACING,
    ("classification/modeling/torchscript.py", "ZipFile w"): "into memory",
    ("classification/reports/pictures.py", "save"): "into memory",
    ("classification/runtime/atomic.py", "fdopen wb"): "this is replacing",
    ("classification/runtime/atomic.py", "mkstemp"): "this is replacing",
    ("classification/runtime/atomic.py", "touch"): "a probe that is gone at once",
    ("classification/runtime/cli.py", "os.write"): "a line to stderr",
    ("classification/runtime/streams.py", "fdopen f'{mode}b'"): "a standard stream",
    ("classification/runtime/streams.py", "os.open"): "nowhere",
    ("detection/service/http_api.py", "shutil.copyfileobj"): "to a client",
    ("detection/service/sources.py", "write_bytes"): "a temporary copy, read at once",
    ("detection/service/task_table.py", "os.open"): "SQLite's file, made private",
    ("classification/runtime/locking.py", "fdopen r+b"): "the lock",
    ("classification/runtime/locking.py", "os.open"): "the lock",
    ("classification/storage/fetching.py", "os.link"): "whole at once, as a rename is",
    ("classification/storage/local.py", "os.open"): "read only",
    ("classification/storage/unzipping.py", "shutil.copyfileobj"): INTO_REPLACING,
}


def test_every_file_is_written_whole_or_not_at_all() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), way)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for way in ways_of_writing(path.read_text(encoding="utf-8"))
    }
    assert found == set(OTHERWISE)


@pytest.mark.parametrize(
    ("code", "ways"),
    [
        ("open(path, 'w')", {"open w"}),
        ("path.open(mode='ab')", {"open ab"}),
        ("gzip.open(path, mode)", {"open mode"}),
        ("open(path); path.open('rb'); archive.open(entry, 'w')", {"open w"}),
        ("zipfile.ZipFile(path, 'w')", {"ZipFile w"}),
        ("shutil.copy(a, b)", {"shutil.copy"}),
        ("torch.save(x, path)", {"save"}),
        ("path.write_text('')", {"write_text"}),
        ("from classification.artifacts import a\na.write_text(path)", set()),
        ("os.open(path, os.O_WRONLY)", {"os.open"}),
    ],
)
def test_ways_of_writing_are_seen(code: str, ways: set[str]) -> None:
    assert set(ways_of_writing(code)) == ways


def ways_of_writing(code: str) -> Iterator[str]:
    """Yields how a module writes files, as far as calls of others tell."""
    tree = ast.parse(code)
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] in PACKAGES
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.partition(".")[0] not in ours:
                yield from way_of_call(node, name)


def way_of_call(call: ast.Call, name: str) -> Iterator[str]:
    """Yields how a call writes a file, if it does."""
    last = name.rpartition(".")[2]
    if last in WRITERS:
        yield last
    elif name in WRITERS_OF_EITHER or name.startswith("shutil.copy"):
        yield name
    elif name == "os.open":
        if not any("RDONLY" in ast.unparse(flags) for flags in call.args[1:]):
            yield name
    elif last in {"open", "fdopen", "ZipFile", "TarFile", "GzipFile"}:
        yield from (f"{last} {mode}" for mode in writing_modes_of(call))


def writing_modes_of(call: ast.Call) -> Iterator[str]:
    """Yields the mode of a call of ``open`` that writes; its code if it is no literal."""
    named = [word.value for word in call.keywords if word.arg == "mode"]
    for value in [*call.args[:2], *named]:
        if isinstance(value, ast.Constant):
            mode = str(value.value)
            if set(mode) <= set("rwaxbt+") and set(mode) & WRITING:
                yield mode
        elif value not in call.args[:1]:
            yield ast.unparse(value)
