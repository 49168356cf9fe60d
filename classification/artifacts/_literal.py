"""Python literals in a cell of a CSV: read as data, never run as code."""

from __future__ import annotations

import ast
import warnings

from classification.runtime.errors import ArtifactError

MAX_CHARACTERS = 100_000  # a chain of taxa with all its common names takes 20,000
_EXCERPT_CHARACTERS = 40


def parse(text: str, *, where: str) -> object:
    """Reads a Python literal: lists, tuples, strings, numbers, None.

    Args:
        text: what the cell holds.
        where: address of the cell, for the error.

    Raises:
        ArtifactError: it is no literal, is cut off, or is too long or deep to read.
    """
    if len(text) > MAX_CHARACTERS:
        raise ArtifactError(f"longer than {MAX_CHARACTERS} characters", where=where)
    try:
        with warnings.catch_warnings():  # an invalid escape such as "\d" only warns
            warnings.simplefilter("ignore")
            return ast.literal_eval(text.strip())
    # the compiler raises the last two on text that is nested too deep
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ArtifactError(
            f"not a Python literal: {_excerpt(text)}", where=where
        ) from None


def _excerpt(text: str) -> str:
    shown = repr(text[:_EXCERPT_CHARACTERS])
    return shown + " ..." if len(text) > _EXCERPT_CHARACTERS else shown
