"""Ways to split places: seconds, scores and labels that are lost.

First the random trials against a plain loop in pandas of the same formula, with the same
sizes and orders drawn by the same generator for each trial; the loop is slow, so it does
fewer trials and is multiplied up. Then ``random`` (10,000 trials), ``smallest_first`` and
``balanced`` on generated worlds, one of each seed, in turns within this process:

  dense        300 places that hold 14 labels, each with a chance of 0.6
  long-tailed  200 places, 40 labels of ever fewer places down to three; one split, which
               is known to have been there, loses none
  large        2,000 places, 100 labels, each with a chance of 0.05 (a few seeds)

A label is lost in a split where the split has no crop of it. Seconds are of the clock,
medians over the seeds; give the arithmetic one thread (OPENBLAS_NUM_THREADS=1) where other
programs are at work.

Example:
  python -m benchmarks.splits --seeds 20
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from classification.dataset import random_trials
from classification.dataset.counts import SPLITS, Fractions
from classification.dataset.splitting import Method, choose
from tests.classification.dataset.worlds import planted, scattered

if TYPE_CHECKING:
    from collections.abc import Callable

    from classification.dataset.counts import Counts

TRIALS = 10_000
FRACTIONS = Fractions(val=0.2, test=0.2)
LARGE_SEEDS = 3


class Outcome(NamedTuple):
    """What a method made of a world."""

    seconds: float
    score: float
    lost: int


WORLDS: dict[str, Callable[[int], Counts]] = {
    "dense": lambda seed: scattered(seed, 300, 14, 0.6),
    "long-tailed": planted,
    "large": lambda seed: scattered(seed, 2_000, 100, 0.05),
}


def plain_loop(counts: Counts, trials: int, seed: int) -> float:
    """Returns the lowest score of random trials, as a loop in pandas finds it."""
    crops = pd.DataFrame(counts.crops, index=list(counts.places))
    locations = (crops > 0).astype(int)
    targets = dict(zip(SPLITS, FRACTIONS.targets, strict=True))
    rng = np.random.default_rng(seed)
    lowest = np.inf
    for _ in range(trials):
        order = rng.permutation(crops.index)
        train = int(len(order) * (FRACTIONS.train + rng.uniform(-0.03, 0.03)))
        val = int(len(order) * (FRACTIONS.val + rng.uniform(-0.03, 0.03)))
        parts = dict(zip(SPLITS, np.split(order, [train, train + val]), strict=True))
        total = 0.0
        for split, places in parts.items():
            for table, weight in ((crops, 2), (locations, 1)):
                share = table.loc[places].sum() / table.sum()
                total += weight * ((share - targets[split]) ** 2).sum()
        lowest = min(lowest, total)
    return lowest


def compare_trials(trials: int) -> None:
    """Prints the random trials beside the plain loop."""
    print(f"10,000 random trials, seconds (the loop: {trials} trials, multiplied up)")
    for name in ("dense", "long-tailed"):
        counts = WORLDS[name](0)
        times = []
        for _ in range(3):
            started = time.perf_counter()
            plain_loop(counts, trials, 0)
            looped = (time.perf_counter() - started) * TRIALS / trials
            started = time.perf_counter()
            random_trials.best_trial(counts, FRACTIONS, seed=0, trials=TRIALS)
            times.append((looped, time.perf_counter() - started))
        loop, ours = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"  {name:12} loop {loop:7.1f}  ours {ours:6.3f}  {loop / ours:6.0f}x")


def outcome(counts: Counts, method: Method, seed: int) -> Outcome:
    """Splits a world."""
    started = time.perf_counter()
    choice = choose(counts, FRACTIONS, method=method, seed=seed, trials=TRIALS)
    return Outcome(time.perf_counter() - started, choice.score, len(choice.missing))


def compare_methods(name: str, seeds: int) -> None:
    """Prints what the methods make of the worlds of one kind."""
    found: dict[Method, list[Outcome]] = {method: [] for method in Method}
    for seed in range(seeds):
        counts = WORLDS[name](seed)
        for method in Method:
            found[method].append(outcome(counts, method, seed))
    print(f"{name}: {seeds} worlds")
    print(f"  {'method':15} {'seconds':>8} {'score':>9} {'lost, from':>10} {'to':>4}")
    for method, outcomes in found.items():
        seconds, score, lost = zip(*outcomes, strict=True)
        print(
            f"  {method:15} {statistics.median(seconds):8.3f} "
            f"{statistics.median(score):9.4f} {min(lost):10} {max(lost):4}"
        )
    pairs = list(zip(found[Method.BALANCED], found[Method.RANDOM], strict=True))
    no_worse = sum(ours.score <= other.score for ours, other in pairs)
    faster = sum(ours.seconds < other.seconds for ours, other in pairs)
    print(f"  balanced: score no worse than random's in {no_worse}, faster in {faster}")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20, help="worlds of each kind")
    parser.add_argument("--loop-trials", type=int, default=200)
    args = parser.parse_args()
    outcome(planted(0), Method.BALANCED, 0)  # imports what is imported late
    compare_trials(args.loop_trials)
    for name in WORLDS:
        compare_methods(name, LARGE_SEEDS if name == "large" else args.seeds)


if __name__ == "__main__":
    main()
