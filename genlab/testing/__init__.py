"""The laws that every method obeys, for genlab's methods and for anybody's.

``genlab laws RECIPE`` tries them all. In your own test::

    from genlab import testing

    case = testing.case(["mine/digits"])
    with testing.Ranks() as ranks:
        for finding in testing.judge_all(case, ranks):
            assert finding.passed, finding

A law that does not apply stands in the class attribute ``law_exceptions`` of the method, law ->
reason; more than two fail.
"""

from genlab.testing.cases import Case, case
from genlab.testing.findings import Finding
from genlab.testing.laws import LAWS, judge, judge_all
from genlab.testing.ranks import RankError, Ranks
from genlab.testing.tiny import smallest, tiny

__all__ = [
    "LAWS",
    "Case",
    "Finding",
    "RankError",
    "Ranks",
    "case",
    "judge",
    "judge_all",
    "smallest",
    "tiny",
]
