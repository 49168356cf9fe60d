"""What a command writes over, and what it refuses to.

A flag that names an output is declared with ``type=Output(...)``, so that the parser knows
every file that the command line is going to replace. ``check`` looks at all of them before
any work: an output is no input, no two outputs are one file, and a file that is there is
replaced only if it is empty or of the kind that the command writes. ``--overwrite`` lifts
the last rule, but not for a file that the user names in a folder that the command reads.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeAlias, TypeVar

from classification.runtime import atomic, containment
from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        noun: what it is called, without an article.
        fits: says whether a file that exists is of it; may raise OSError.
        is_continued: a run goes on with what is in it, so that none of another kind can
            be written over.
    """

    noun: str
    fits: Callable[[Path], bool]
    is_continued: bool = False


Files: TypeAlias = Mapping[Path, Kind]
ArgumentsT = TypeVar("ArgumentsT", bound=argparse.Namespace)


@dataclass(frozen=True, kw_only=True)
class Output(Generic[ArgumentsT]):
    """The ``type=`` of a flag that names an output.

    Attributes:
        files: returns the files that are written for a value of the flag, with their
            kinds, given all arguments.
        parse: turns the word into a path, as any ``type=`` does.
        is_folder: the path is that of a folder, made if missing.
        default: returns the path where the flag is left out, given all arguments.
    """

    files: Callable[[Path, ArgumentsT], Files]
    parse: Callable[[str], Path] = Path
    is_folder: bool = False
    default: Callable[[ArgumentsT], Path] | None = None

    def __call__(self, text: str) -> Path:
        """Parse the word."""
        return self.parse(text)


def file(
    kind: Kind,
    *,
    parse: Callable[[str], Path] = Path,
    default: Callable[[ArgumentsT], Path] | None = None,
) -> Output[ArgumentsT]:
    """Return the ``type=`` of a flag that names one file; see ``Output``."""
    return Output(files=lambda path, _: {path: kind}, parse=parse, default=default)


def folder(
    kind_by_name: Mapping[str, Kind] | None = None,
    *,
    default: Callable[[ArgumentsT], Path] | None = None,
) -> Output[ArgumentsT]:
    """Return the ``type=`` of a flag that names a folder, with its files; see ``Output``."""
    kinds = kind_by_name or {}
    return Output(
        files=lambda path, _: {path / name: kind for name, kind in kinds.items()},
        is_folder=True,
        default=default,
    )


class _Written(NamedTuple):
    """A file, or with no kind a folder, that is to be written."""

    flag: str
    path: Path
    target: Path
    kind: Kind | None
    is_default: bool


def fill_defaults(parser: argparse.ArgumentParser, arguments: ArgumentsT) -> None:
    """Put the default of each output that was left out into the arguments."""
    for action in parser._actions:  # noqa: SLF001 - argparse shows them in no other way
        kind = action.type
        if (
            isinstance(kind, Output)
            and kind.default is not None
            and getattr(arguments, action.dest) is None
        ):
            setattr(arguments, action.dest, kind.default(arguments))


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse outputs that would destroy what they should not.

    Args:
        parser: knows which flags are outputs; the paths of all others are inputs.
        arguments: what it parsed, with defaults.

    Raises:
        ConfigurationError: a file is an output and an input, or two outputs; it exists
            and is of another kind; or there is a file where a folder is to be.
        StorageError: an output is a device, a pipe or a stream.
    """
    written: list[_Written] = []
    inputs: list[Path] = []
    for action in parser._actions:  # noqa: SLF001 - as above
        paths = _paths_in(getattr(arguments, action.dest, None))
        if isinstance(action.type, Output):
            flag = max(action.option_strings, key=len, default=action.dest.upper())
            for path in paths:
                written += _written(flag, path, action.type, arguments)
        else:
            inputs += filter(os.path.exists, paths)  # a Path's raises at long texts
    for one, other in combinations(written, 2):
        _refuse_same(one, other)
    overwrite = getattr(arguments, "overwrite", False)
    for one in written:
        _refuse_input(one, inputs)
        _refuse_foreign(one, inputs if overwrite else None)


def _paths_in(value: object) -> Iterator[Path]:
    """Yield what may be paths in the value of a flag."""
    if isinstance(value, list | tuple):
        for part in value:
            yield from _paths_in(part)
        return
    value = getattr(value, "where", value)  # of a Place
    if isinstance(value, str) and value:
        value = Path(value.removeprefix("@"))  # a file that holds an address
    if isinstance(value, Path):
        yield value


def _written(
    flag: str,
    path: Path,
    output: Output[argparse.Namespace],
    arguments: argparse.Namespace,
) -> Iterator[_Written]:
    is_default = output.default is not None and path == output.default(arguments)
    if output.is_folder:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_dir():
            raise ConfigurationError(f"{flag} {path} is a file; a folder is needed")
        yield _Written(flag, path, target, None, is_default)
    for file, kind in output.files(path, arguments).items():
        if file.is_dir():
            raise ConfigurationError(f"{flag} {file} is a folder; name a file")
        yield _Written(flag, file, atomic.destination(file), kind, is_default)


def _refuse_same(one: _Written, other: _Written) -> None:
    are_folders = one.kind is None and other.kind is None
    if not are_folders and _fold(one.target) == _fold(other.target):
        raise ConfigurationError(
            f"{one.flag} {one.path} and {other.flag} {other.path} are the same file, at "
            "least on disks that tell no case; give two names"
        )


def _fold(path: Path) -> str:
    return containment.fold(path.as_posix())


def _refuse_input(one: _Written, inputs: Iterable[Path]) -> None:
    for path in inputs:
        if one.kind and one.target.exists() and one.target.samefile(path):
            raise ConfigurationError(
                f"{one.flag} {one.path} is an input of this command ({path}), which is "
                "never written over; name another file"
            )


def _refuse_foreign(one: _Written, read: Iterable[Path] | None) -> None:
    """Refuse a file of another kind.

    Args:
        one: what is to be written.
        read: the paths that are read, where others may be written over; None where no
            file of another kind may be.
    """
    if one.kind is None or not _holds_other(one.target, one.kind):
        return
    if one.kind.is_continued:
        raise ConfigurationError(
            f"{one.flag} {one.path} is not a {one.kind.noun}; move it out of the way"
        )
    stands = f"{one.flag} {one.path} exists and is no {one.kind.noun}"
    if read is None:
        raise ConfigurationError(
            f"{stands}, which this command writes; name another file, or write over it "
            "with --overwrite"
        )
    for folder in read:
        if not one.is_default and folder.resolve() in one.target.parents:
            raise ConfigurationError(
                f"{stands}, and it lies in {folder}, which this command reads; name "
                "another file"
            )


def _holds_other(path: Path, kind: Kind) -> bool:
    try:
        return path.stat().st_size > 0 and not kind.fits(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # what cannot be read is not known to be ours
