"""The fewest labels that any split of the places can lose, by integer programming.

A (label, split) pair is missing where no place of the split holds the label. Labels at
as many places as there are splits in use, or more, come first: as few of their pairs as
possible are missing, and only then of the pairs of rarer labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from classification.dataset.counts import FREE
from classification.dataset.scoring import counted_places, splits_in_use

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from classification.dataset.counts import Counts, Fractions

# The search ends here however far it is, the same on every machine.
_MAX_NODES = 20_000


@dataclass(frozen=True, slots=True)
class Problem:
    """What can be where.

    Attributes:
        holds: whether a place holds a label, bool [places, labels].
        fixed: the split a place is given, or ``FREE``, int8 [places].
        used: the splits that are to hold every label.
        weights: what a missing pair of each label costs, int64 [labels].
    """

    holds: NDArray[np.bool_]
    fixed: NDArray[np.int8]
    used: Sequence[int]
    weights: NDArray[np.int64]

    def cost(self, split: NDArray[np.int8]) -> int:
        """Returns what the missing pairs of a split, int8 [places], cost together."""
        held = [self.holds[split == s].any(axis=0) for s in self.used]
        return int((~np.stack(held) * self.weights).sum())

    def least(self) -> int:
        """Returns a cost that no split is below: each label by itself."""
        free = self.holds[self.fixed == FREE].sum(axis=0)
        lacking = sum(~self.holds[self.fixed == s].any(axis=0) for s in self.used)
        return int((np.maximum(lacking - free, 0) * self.weights).sum())


def problem_of(counts: Counts, fractions: Fractions) -> Problem:
    """Returns what can be where; labels without crops cost nothing."""
    inside = counted_places(counts, fractions)
    holds = (counts.crops > 0) & inside[:, None]
    used = splits_in_use(fractions)
    places = holds.sum(axis=0)
    plenty, alive = places >= len(used), places > 0
    rare_pairs = int((alive & ~plenty).sum()) * len(used)
    weights = np.where(plenty, rare_pairs + 1, 1) * alive
    return Problem(holds, counts.pinned, used, weights)


def solve(problem: Problem) -> tuple[NDArray[np.int8], bool]:
    """Returns a split of least cost, int8 [places], and whether that is proven.

    Places whose split does not matter are left ``FREE``.
    """
    from scipy import optimize, sparse  # type: ignore[import-untyped]  # noqa: PLC0415 - takes a moment

    free = np.flatnonzero(problem.fixed == FREE)
    labels = np.flatnonzero(problem.weights)
    used = problem.used
    choices, pairs = len(free) * len(used), len(labels) * len(used)
    one_each = sparse.kron(sparse.eye(len(free)), np.ones((1, len(used))))
    holds = sparse.csr_matrix(problem.holds[np.ix_(free, labels)].astype(float).T)
    covers = sparse.kron(holds, sparse.eye(len(used)))
    given = np.stack(
        [problem.holds[problem.fixed == s][:, labels].sum(axis=0) for s in used], axis=1
    )
    rows = sparse.bmat(
        [
            [one_each, sparse.csr_matrix((len(free), pairs))],
            [covers, -sparse.eye(pairs)],
        ]
    )
    upper = np.concatenate([np.ones(len(free)), np.full(pairs, np.inf)])
    lower = np.concatenate([np.zeros(len(free)), -given.ravel().astype(float)])
    cost = np.repeat(problem.weights[labels], len(used)).astype(float)
    found = optimize.milp(
        np.concatenate([np.zeros(choices), -cost]),
        integrality=np.concatenate([np.ones(choices), np.zeros(pairs)]),
        bounds=optimize.Bounds(0, 1),
        constraints=optimize.LinearConstraint(rows, lower, upper),
        options={"node_limit": _MAX_NODES, "mip_rel_gap": 0.0},
    )
    split = problem.fixed.copy()
    if found.x is None:
        return split, False
    taken = found.x[:choices].reshape(len(free), len(used)) > 1 / 2
    rows_taken, columns = np.nonzero(taken)
    split[free[rows_taken]] = np.array(used, dtype=np.int8)[columns]
    return split, found.status == 0


def blocking_labels(problem: Problem) -> tuple[tuple[int, ...], ...]:
    """Returns groups of labels that cannot all be in every split they could be alone.

    Each group would fit if any one of it were left out; no label is in two.
    """
    left = [int(label) for label in np.flatnonzero(problem.weights)]
    groups: list[tuple[int, ...]] = []
    while not _fit(problem, left):
        group = _smallest(problem, left)
        groups.append(tuple(group))
        left = [label for label in left if label not in group]
    return tuple(groups)


def _smallest(problem: Problem, labels: Sequence[int]) -> Sequence[int]:
    """Returns labels that do not fit, but would without any one of them.

    What can be left out is left out in pieces, large ones first, which asks `_fit` far
    less often than label by label.
    """
    group, size = labels, len(labels) // 2
    while size:
        first = 0
        while first < len(group):
            rest = [*group[:first], *group[first + size :]]
            if _fit(problem, rest):
                first += size
            else:
                group = rest
        size //= 2
    return group


def _fit(problem: Problem, labels: Sequence[int]) -> bool:
    if not labels:
        return True
    weights = np.zeros_like(problem.weights)
    weights[list(labels)] = 1
    part = Problem(problem.holds, problem.fixed, problem.used, weights)
    split, _ = solve(part)
    return part.cost(split) <= part.least()
