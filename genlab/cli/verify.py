"""``verify``: is a finished run what it says it is?"""

from __future__ import annotations

from argparse import ArgumentParser

from genlab import recipes, runs
from genlab.cluster import launch
from genlab.errors import RecipeError


def verify_options(parser: ArgumentParser) -> None:
    """Check a finished run: its files, splits and test metrics, and steps trained again.

    A run with track.links has states from which steps are trained again and compared bit by bit.
    Nothing is written into the run. Exit code 1 if it is refused, with a line for every fault;
    the last line says `accepted`, or `accepted from step N` after a resume with other settings, and
    `no fault` where no steps could be trained again, or their bits may be others.
    """
    parser.add_argument("run", metavar="RUN")
    parser.add_argument(
        "--spot", type=int, metavar="N", help="windows to train again, drawn at random (10)"
    )
    parser.add_argument("--full", action="store_true", help="train the whole run again")
    parser.add_argument("--seed", type=int, help="seed of the draw (one that nobody can foresee)")


def verify(run: str, spot: int | None, full: bool, seed: int | None) -> int:
    """Print what holds, what was not checked, and the faults."""
    if full and (spot is not None or seed is not None):
        raise RecipeError("--full trains every step again: it takes neither --spot nor --seed")
    if spot is not None and spot < 1:
        raise RecipeError(f"--spot must be at least 1, not {spot}")
    launch.check()
    recipes.refuse_untrained(run)
    folder = runs.find(run).absolute()
    from genlab.training.verify import verify as check

    report = check(folder, 10 if spot is None else spot, full, seed)
    drawn = "" if report.seed is None else f" (windows by --seed {report.seed})"
    for kind, lines in (
        ("holds", report.shown), ("not checked", report.unproved), ("fault", report.faults),
    ):  # fmt: skip
        for line in lines:
            print(f"{kind:<12} {line}")
    print(f"{report.verdict:<12} {folder}{drawn}")
    return int(bool(report.faults))
