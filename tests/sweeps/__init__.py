"""Sweeps: one promise of docs/reliability.md each, tried a great many times.

A sweep is a module of this package that is named in ``NAMES``. It has

* a docstring, whose first line says what is tried;
* ``missing() -> str``: what this machine lacks for it; empty where nothing;
* ``run(share: float, folder: Path) -> Outcome``: tries it, ``share`` of 1 being all of
  it and 0.1 a tenth, with fixed seeds, in an empty folder.

``python -m tests.sweeps`` runs them whole and writes what they found into
docs/reliability.md; ``tests/test_sweeps.py`` runs a tenth of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAMES: tuple[str, ...] = (  # in the order of the page
    "faults",
    "kills",
    "no_space",
    "changed_inputs",
    "hostile_images",
    "hostile_names",
    "mutants",
    "hostile_models",
    "tokens",
    "cluster",
    "service",
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sweep found.

    Attributes:
        figures: what was counted or measured, in the order to be shown.
        broken: sentences that say where the promise did not hold; none if it did.
    """

    figures: Mapping[str, object]
    broken: list[str] = field(default_factory=list)


class Sweep(Protocol):
    """A module of this package."""

    __doc__: str | None

    def missing(self) -> str:
        """Says what this machine lacks; empty where nothing."""
        ...

    def run(self, share: float, folder: Path) -> Outcome:
        """Tries the promise."""
        ...


def load(name: str) -> Sweep:
    """Imports a sweep."""
    return cast("Sweep", import_module(f"tests.sweeps.{name}"))
