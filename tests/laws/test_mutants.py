"""How many of fifty slips the laws catch. Run alone: ``python -m tests.laws.test_mutants``."""

from __future__ import annotations

import pytest

from genlab.testing import LAWS, Ranks, case, judge
from tests.laws.mutants import MUTANTS, rebuilt

ENOUGH = 45
MISSED = {  # what an update once a batch changes no law compares
    "MovedInTheStepVQVAE",  # the codebook's statistics grow with the batches of a step anyway
    "MovedInTheStepWGANGP",  # the average follows the critic's steps, which are batches
}
SAMPLE = (
    "GatherDroppedMoCoV3", "BufferMadeAttributeMoCo", "NoGradRemovedBYOL", "DetachAddedBarlowTwins",
    "MovedInTheStepMoCoV3",
)  # fmt: skip


def caught_by(name: str, ranks: Ranks) -> tuple[str, str] | None:
    """The first law that a mutant breaks, that of its slip before all others, and its note."""
    kind, recipe, likely = MUTANTS[name]
    mutant = rebuilt(case([recipe]), kind)
    for law in sorted(LAWS, key=lambda law: law != likely):
        if not (finding := judge(mutant, law, ranks)).passed:
            return law, finding.note
    return None


def survey(ranks: Ranks) -> list[str]:
    """Prints a line for each mutant; those that no law catches."""
    missed = []
    for name in MUTANTS:
        law, note = caught_by(name, ranks) or ("NOT CAUGHT", "")
        print(f"{name:40s} {law:12s} {note}", flush=True)
        missed += [name] * (law not in LAWS)
    print(f"{len(MUTANTS) - len(missed)} of {len(MUTANTS)} caught")
    return missed


@pytest.mark.parametrize("name", SAMPLE)
def test_a_slip_breaks_the_law_that_is_to_find_it(name: str, ranks: Ranks) -> None:
    assert (caught := caught_by(name, ranks)) is not None
    assert caught[0] == MUTANTS[name][2], caught


@pytest.mark.prove
def test_the_laws_catch_the_slips(ranks: Ranks) -> None:
    assert len(MUTANTS) == 50
    missed = survey(ranks)
    assert set(missed) <= MISSED
    assert len(MUTANTS) - len(missed) >= ENOUGH


if __name__ == "__main__":
    with Ranks() as pool:
        survey(pool)
