"""The laws find what is wrong, and say which law it is."""

from __future__ import annotations

from typing import Any

import pytest

from genlab.testing import LAWS, Ranks, case, judge
from tests.laws import wrong_methods as wrong


def broken(kind: Any, recipe: str, ranks: Ranks) -> dict[str, str]:
    tried = wrong.turned(case([recipe]), kind)
    found = [judge(tried, law, ranks) for law in LAWS]
    return {finding.law: finding.note for finding in found if not finding.passed}


@pytest.mark.parametrize(
    ("kind", "recipe", "laws", "note"),
    [
        (wrong.GradientOfOneRank, "simclr/digits", {"processes"}, "gradient"),
        (wrong.VICRegWithoutGradient, "simclr/digits", {"processes"}, "encoder"),
        (wrong.MovesPerBatch, "byol/digits", {"once"}, "_ema"),
        (wrong.ForgetsItsQueue, "moco/digits", {"checkpoint", "resume"}, "queue.keys"),
    ],
)
def test_a_wrong_method_breaks_its_law_and_no_other(
    kind: Any, recipe: str, laws: set[str], note: str, ranks: Ranks
) -> None:
    found = broken(kind, recipe, ranks)
    assert set(found) == laws
    assert any(note in said for said in found.values())


@pytest.mark.parametrize(
    ("kind", "law", "note"),
    [
        (wrong.KnowsThePlace, "places", "gradient"),
        (wrong.LearnsLabels, "labels", "gradient"),
        (wrong.ReturnsInfinity, "bf16", "inverse"),
        (wrong.ForgetsAnArgument, "weights_only", "output"),
    ],
)
def test_a_wrong_detail_breaks_its_law(kind: Any, law: str, note: str, ranks: Ranks) -> None:
    assert judge(case(["simclr/digits"]), law, ranks).passed
    finding = judge(wrong.turned(case(["simclr/digits"]), kind), law, ranks)
    assert not finding.passed
    assert note in finding.note


def test_the_right_one_beside_it_breaks_none(ranks: Ranks) -> None:
    assert broken(wrong.VICReg, "simclr/digits", ranks) == {}


def test_more_than_two_exceptions_are_too_many(ranks: Ranks, monkeypatch: Any) -> None:
    from genlab.testing import judge_all

    tried = case(["knn/digits"])
    excuses = dict.fromkeys(LAWS, "it is too hard")
    monkeypatch.setattr(type(tried.method), "law_exceptions", excuses, raising=False)
    found = list(judge_all(tried, ranks))
    assert [finding.law for finding in found if not finding.passed] == ["exceptions"]
