"""Strict JSON in, atomic JSON out."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from classification.artifacts import _limits
from classification.runtime.atomic import replacing
from classification.runtime.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

T = TypeVar("T", bound=msgspec.Struct)


def _reject_duplicate_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise ArtifactError("key appears twice", where=key)
        document[key] = value
    return document


def _reject_constant(name: str) -> float:
    raise ArtifactError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ArtifactError(f"{text} is too large a number")
    return value


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON file whose top level is an object.

    Raises:
        ArtifactError: the file is missing, is not JSON, holds NaN, repeats a key,
            or holds something else at its top level.
    """
    document = parse(read_bytes(path))
    if not isinstance(document, dict):
        raise ArtifactError("expected an object at the top level")
    return document


def parse(text: bytes) -> Any:  # noqa: ANN401 - JSON of any shape; the reader checks it
    """Parses JSON text strictly: UTF-8, no NaN or infinity, no key twice.

    Raises:
        ArtifactError: it is not such text, or a value in it is too long.
    """
    _limits.check_json(text)
    try:
        return json.loads(
            text.decode("utf-8-sig"),
            object_pairs_hook=_reject_duplicate_keys,
            parse_constant=_reject_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"not JSON: {error}") from error


def read_bytes(path: Path) -> bytes:
    """Reads a whole file, of JSON or of lines.

    Raises:
        ArtifactError: it is missing, is no plain file, or cannot be read; or a value in
            it is too long.
    """
    try:
        if path.exists() and not path.is_file():
            raise ArtifactError("not a plain file")
        with path.open("rb") as file:
            return _limits.read_all(file)
    except OSError as error:
        raise ArtifactError(f"cannot read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise ArtifactError(f"cannot read: {error}") from error


def to_struct(document: Mapping[str, Any], kind: type[T]) -> T:
    """Checks a document against the types of a struct and returns what it says.

    Raises:
        ArtifactError: a key is missing, unknown or of the wrong type; with its address.
    """
    try:
        return msgspec.convert(dict(document), kind)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        raise ArtifactError(message, where=where.removesuffix("`")) from error
    except UnicodeEncodeError as error:
        raise ArtifactError(f"a key that is no text: {error.object!r}") from error


def write_object(
    path: Path, document: Mapping[str, Any], *, indent: int | None = 1
) -> None:
    """Writes ``document`` so that ``path`` holds either the old file or all of it.

    A string that is no text, such as a file name that is not UTF-8, is written with
    JSON's escapes and read back equal.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace") + b"\n")
