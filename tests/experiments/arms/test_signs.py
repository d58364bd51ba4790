"""Answers of shipped studies to results that mean a yes to their question."""

from __future__ import annotations

import pytest

from genlab.experiments.arms import question_files
from genlab.experiments.arms.verdicts import NO, YES, verdict, went
from tests.experiments.arms import meant


@pytest.mark.parametrize("name", sorted(question_files.shipped()))
def test_what_means_yes_is_answered_yes(name: str) -> None:
    question = question_files.read(question_files.shipped()[name])
    values = meant.yes(question)
    found = verdict(question, values)
    assert found.answer == YES
    expected = question.prediction.expect
    if expected != "equal":
        as_predicted = went(question, found) == "as predicted"
        assert as_predicted == (expected == question.decides.yes_if)
    ends = list(values)
    if question.decides.kind in ("difference", "rate") and len(ends) == 2:
        turned = {ends[0]: values[ends[1]], ends[1]: values[ends[0]]}
        assert verdict(question, turned).answer == NO
