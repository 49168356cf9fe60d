"""Adds what a review found to what is known of wrong labels already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The wrong labels of a dataset after a review.

    Attributes:
        class_by_file: the right class of each file; empty where nobody knows.
        added: files that were not known.
        changed: (file, class before, class now) of those known otherwise.
        unchanged: number of files that were known so.
    """

    class_by_file: dict[str, str]
    added: tuple[str, ...]
    changed: tuple[tuple[str, str, str], ...]
    unchanged: int


def merge(
    known: Mapping[str, str], found: Mapping[str, str], *, overwrite: bool = False
) -> Merged:
    """Merges the findings of a review into what is known.

    To name the class of a file of which it was not known is no contradiction; to say of
    one that is known that it is another, or unknown, is one.

    Args:
        known: right class by file.
        found: likewise, of the review.
        overwrite: let the review be right where the two contradict each other.

    Raises:
        ConfigurationError: they do, and ``overwrite`` is not asked for.
    """
    added = tuple(file for file in found if file not in known)
    changed = tuple(
        (file, known[file], right)
        for file, right in found.items()
        if file in known and known[file] != right
    )
    if not overwrite:
        for file, before, now in changed:
            if before:
                raise ConfigurationError(
                    f"{file!r} is known to be {before!r}; the review says "
                    f"{_said(now)}. --overwrite lets the review be right"
                )
    return Merged(
        class_by_file={**known, **found},
        added=added,
        changed=changed,
        unchanged=len(found) - len(added) - len(changed),
    )


def _said(right: str) -> str:
    return repr(right) if right else "that nobody knows"
