"""The laws by name, in the order in which they are tried."""

from __future__ import annotations

import io
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr

from genlab.testing.cases import Case
from genlab.testing.dealing import labels, order, places, processes, repeat
from genlab.testing.exceptions import MOST
from genlab.testing.findings import Finding, excused
from genlab.testing.numbers import bf16, fp16, gradients, reads
from genlab.testing.ranks import RankError, Ranks
from genlab.testing.rehearsing import devices, worlds
from genlab.testing.resuming import checkpoint, once, resume, weights_only

Law = Callable[[Case, Ranks], Finding]
LAWS: dict[str, Law] = {
    law.__name__: law
    for law in (
        processes, resume, checkpoint, once, order, places, repeat, gradients, bf16, fp16, reads,
        devices, worlds, labels, weights_only,
    )
}  # fmt: skip


def judge(case: Case, law: str, ranks: Ranks) -> Finding:
    """One law on one case; an error of the method's is a failure that quotes it."""
    if law in case.exceptions:
        return excused(law, case.exceptions[law])
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return LAWS[law](case, ranks)
    except RankError as error:
        return Finding(law, False, note=str(error).strip().splitlines()[-1])
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        return Finding(law, False, note=f"{said} ({where.name})")


def judge_all(case: Case, ranks: Ranks) -> Iterator[Finding]:
    """Every law on one case, and whether it has too many exceptions."""
    for law in LAWS:
        yield judge(case, law, ranks)
    if len(case.exceptions) > MOST:
        yield Finding("exceptions", False, note=f"{len(case.exceptions)} of at most {MOST}")
