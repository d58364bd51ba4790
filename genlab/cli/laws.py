"""``laws``: whether a recipe's method obeys what every method must."""

from __future__ import annotations

import json as json_format
import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING

from genlab import recipes
from genlab.cli.arguments import split_words
from genlab.errors import RecipeError

if TYPE_CHECKING:
    from genlab.testing.findings import Finding


MOST = 32  # processes, all on this machine


def laws_options(parser: ArgumentParser) -> None:
    """Try the laws of methods on a recipe's method, at tiny size.

    One line a law with the measured difference; exit code 1 when one fails. Two and three processes
    equal one, a resumed run the straight one, a batch in any order; gradients, half precision,
    labels. Without a GPU: devices, float64 and waits on one, growth with many.
    """
    parser.add_argument("words", nargs="+", metavar="RECIPE|FILE.yaml|key=value")
    parser.add_argument(
        "--world", type=int, metavar="N", help="compare N processes with one, not two and three"
    )
    parser.add_argument("--json", action="store_true", help="print JSON only")


def laws(words: list[str], world: int | None, json: bool) -> int:
    """Print a line a law; 1 when one fails."""
    if world is not None and not 2 <= world <= MOST:
        raise RecipeError(f"--world {world} must be from 2 to {MOST}")
    files, overrides = split_words(words)
    recipes.check_keys(recipes.resolve(files, overrides))

    from genlab.testing.cases import case
    from genlab.testing.laws import judge_all
    from genlab.testing.ranks import Ranks
    from genlab.testing.tiny import WORLDS

    worlds = WORLDS if world is None else (world,)
    tried, found = case(files, overrides, worlds), list["Finding"]()
    if tried.note:
        print(tried.note, file=sys.stderr)
    with Ranks() as ranks:
        for finding in judge_all(tried, ranks):
            found.append(finding)
            if not json:
                print(line(finding), flush=True)
    if json:
        print(json_format.dumps([vars(finding) for finding in found], indent=1))
    return int(not all(finding.passed for finding in found))


def line(finding: Finding) -> str:
    """A law's verdict, its measured difference, and where or why."""
    verdict = "-" if finding.excused else "ok" if finding.passed else "FAILS"
    measured = "" if finding.difference is None else f"{finding.difference:.2g}"
    return f"{verdict:5s} {finding.law:13s} {measured:8s} {finding.note}".rstrip()
