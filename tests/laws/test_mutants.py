"""How many of fifty slips the laws catch. Run alone: ``python -m tests.laws.test_mutants``."""

from __future__ import annotations

import pytest

from genlab.testing import LAWS, Ranks, case, judge
from tests.laws.mutants import MUTANTS
from tests.laws.wrong_methods import turned

ENOUGH = 45


def caught_by(name: str, ranks: Ranks) -> str | None:
    """The first law that a mutant breaks, if any."""
    kind, recipe = MUTANTS[name]
    mutant = turned(case([recipe]), kind)
    return next((law for law in LAWS if not judge(mutant, law, ranks).passed), None)


def survey(ranks: Ranks) -> list[str]:
    """Prints a line for each mutant; those that no law catches."""
    missed = []
    for name in MUTANTS:
        law = caught_by(name, ranks)
        print(f"{name:36s} {law or 'NOT CAUGHT'}", flush=True)
        missed += [name] * (law is None)
    print(f"{len(MUTANTS) - len(missed)} of {len(MUTANTS)} caught")
    return missed


@pytest.mark.slow
def test_the_laws_catch_the_slips(ranks: Ranks) -> None:
    assert len(MUTANTS) == 50
    missed = survey(ranks)
    assert len(MUTANTS) - len(missed) >= ENOUGH, missed


if __name__ == "__main__":
    with Ranks() as pool:
        survey(pool)
