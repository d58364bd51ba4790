"""Actions of ``study`` on studies that answer one question by a few arms."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from genlab.errors import RecipeError, RunError, first_line
from genlab.experiments import page_results
from genlab.experiments.arms import equality, question_files
from genlab.experiments.arms.expansion import only
from genlab.experiments.arms.results import Results
from genlab.experiments.arms.summary import page as page_of
from genlab.experiments.arms.summary import plan
from genlab.experiments.arms.work import work
from genlab.experiments.pool import Task, run_all
from genlab.files import shown_path


def show(results: Results) -> int:
    """Question, arms with what differs between them, what they have alike, what is missing."""
    print(plan(results))
    try:
        alike = equality.check(results.expansion)
    except RunError as error:
        print(f"equal      not counted: {first_line(error)}")
        return 0
    for what, counts in ((what, found) for what, found in alike.items() if found):
        ends = dict.fromkeys((min(counts.values()), max(counts.values())))
        print(f"equal      {what}: {' to '.join(f'{end:,}' for end in ends)}")
    return 0


def run(
    results: Results, arms: Sequence[str], seeds: Sequence[int], parallel: int, retry: bool
) -> int:
    """Train and measure what is missing, and say the verdict.

    Args:
        results: the study's.
        arms: names of arms; all where none is given.
        seeds: seeds; all where none is given.
        parallel: processes that share the work.
        retry: True to run again what has failed.
    """
    chosen = only(results.question, arms, seeds)
    equality.check(results.expansion)
    if not results.cells:
        raise RecipeError("run requires steps", str(results.question.file), "genlab study bench")
    if retry:
        results.forget_failed()
    code = work(results, chosen) if parallel == 1 else _shared(results, arms, seeds, parallel)
    print(plan(results))
    return code


def _shared(results: Results, arms: Sequence[str], seeds: Sequence[int], parallel: int) -> int:
    """The work of several processes; each takes runs that no other holds."""
    words = ["study", "run", str(results.question.file), "--runs-in", str(results.root)]
    words += ["--arms", *arms] if arms else []
    words += ["--seeds", ",".join(map(str, seeds))] if seeds else []
    words += ["--known", "none" if results.known is None else str(results.known)]
    command = [sys.executable, "-P", "-m", "genlab", *words]
    tasks = [Task(f"process {number + 1}", command) for number in range(parallel)]
    codes = run_all(tasks, parallel)
    return next((abs(code) for code in codes if code), 0)


def bench(results: Results, steps: int) -> int:
    """Turn a budget of seconds into steps of each arm, once, on an idle machine."""
    from genlab.experiments.studies.rows import Row
    from genlab.experiments.studies.timing import WARM, cpu_seconds, steps_of

    question, expansion = results.question, results.expansion
    if not (seconds := question.budget.get("seconds")):
        raise RecipeError("bench requires a budget of seconds", str(question.file))
    rows = [
        Row(arm.name, "method", arm.recipe or question.recipe,
            expansion.words(arm.name, question.seeds[0]))
        for arm in question.arms
    ]  # fmt: skip
    cpu_seconds(rows[0], WARM)  # the very first run also compiles byte code and reads files
    found = {row.key: steps_of(row, seconds, steps) for row in rows}
    question_files.write_steps(question, found)
    print(f"steps of {len(found)} arms in {shown_path(question.file)}")
    return 0


def page(results: Results, out: str | None) -> int:
    """Print the page, or write it with every result next to it."""
    if out is None:
        print(page_of(results), end="")
        return 0
    place = Path(out)
    written = page_results.write_with_page(place, page_of(results, place), results.published())
    print(*map(shown_path, written), sep="\n", file=sys.stderr)
    return 0


def numbers(text: str | None) -> list[int]:
    """``0,1,4..6`` as seeds.

    Raises:
        RecipeError: not whole numbers.
    """
    from genlab.experiments.axes import axis

    if text is None:
        return []
    found = axis(f"--seeds={text}").values
    if not all(one.isdigit() for one in found):
        raise RecipeError(f"--seeds {text} is not a list of numbers", hint="0,1 or 0..4")
    return [int(one) for one in found]
