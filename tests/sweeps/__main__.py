"""Runs sweeps whole, and writes what they found into docs/reliability.md.

python -m tests.sweeps            all of them
python -m tests.sweeps NAME ...   some
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests import sweeps
from tests.sweeps import page


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.sweeps", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*sweeps.NAMES, []], metavar="NAME")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        help="how much of each, for trying; what is found is then printed, not written",
    )
    args = parser.parse_args()
    kept = [_run(name, args.share) for name in args.names or sweeps.NAMES]
    return 0 if all(kept) else 1


def _run(name: str, share: float) -> bool:
    """Runs a sweep; says whether its promise was kept, or could not be tried."""
    sweep = sweeps.load(name)
    if reason := sweep.missing():
        print(f"{name}: skipped: {reason}")
        return True
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"ct-sweep-{name}-") as folder:
        outcome = sweep.run(share, Path(folder))
    print(f"{name}: {time.monotonic() - began:.0f} s")
    for label, value in outcome.figures.items():
        print(f"  {label}: {value}")
    for sentence in outcome.broken:
        print(f"  BROKEN: {sentence}")
    if share == 1 and not outcome.broken:
        page.write(name, outcome.figures)
    return not outcome.broken


if __name__ == "__main__":
    sys.exit(main())
