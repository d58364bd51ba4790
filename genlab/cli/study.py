"""``study``: a table of many methods, or one question to a few arms, trained and written down."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path

from genlab.cli import questions
from genlab.errors import RecipeError, nearest
from genlab.experiments import page_results, study_files
from genlab.experiments.arms import question_files
from genlab.experiments.arms.results import Results
from genlab.experiments.studies import table as tables
from genlab.experiments.studies.cells import Cells
from genlab.experiments.studies.effort import left, plan
from genlab.experiments.studies.page import missing, page
from genlab.files import shown_path

ACTIONS = ("ls", "bench", "run", "show", "page")


def study_options(parser: ArgumentParser) -> None:
    """Studies: one question to a few arms, or a table of many methods under one budget.

    ls lists the studies that there are, with their question or title. bench turns a budget of
    seconds into steps, once, on an idle machine, and writes them into the study's file. run trains
    and measures what is missing; several at a time share the work, and what was killed goes on.
    show says what is missing, how arms differ, and the verdict. page prints the study as Markdown;
    with --out, every result stands in a JSON file next to it, and --known lets them take part
    elsewhere: in a checkout those of docs/studies do, unless it says none.
    """
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("study", nargs="?", metavar="STUDY", help="a name of `ls`, or a file")
    parser.add_argument("--rows", metavar="ROW,...", help="only these rows of a table")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="only these arms of a question")
    parser.add_argument("--seeds", metavar="0,1,4..6", help="only these seeds of a question")
    parser.add_argument("--parallel", type=int, default=1, help="processes of a question's run")
    parser.add_argument("--steps", type=int, default=300, help="that bench measures (300)")
    parser.add_argument("--retry", action="store_true", help="run what has failed again")
    parser.add_argument("--out", metavar="FILE.md", help="file for page; default: printed")
    parser.add_argument("--known", metavar="DIR", help="results of pages: DIR/STUDY.json; none")
    parser.add_argument("--runs-in", dest="root", default="runs", metavar="DIR")


def study(
    action: str, study: str | None, rows: str | None, steps: int, retry: bool, out: str | None,
    known: str | None, root: str, arms: list[str] | None = None, seeds: str | None = None,
    parallel: int = 1,
) -> int:  # fmt: skip
    """Do one of the actions."""
    if action == "ls":
        return _list()
    if study is None:
        raise RecipeError(f"study {action} requires a STUDY", hint="genlab study ls lists them")
    if steps < 1:
        raise RecipeError(f"--steps {steps} must be at least 1")
    if file := question_files.meant(study):
        results = Results(question_files.read(file), Path(root), published_results(known))
        return _ask(action, results, arms or [], seeds, parallel, steps, retry, out, rows)
    if not Path(study).is_file() and study not in (known_tables := tables.shipped()):
        names = [*question_files.shipped(), *known_tables]
        raise RecipeError(f"no study {study}", hint=nearest(study, names))
    if arms or seeds or parallel != 1:
        raise RecipeError("--arms, --seeds and --parallel require a study of one question", study)
    cells = Cells(tables.read(study), Path(root), published_results(known))
    if action == "page":
        return _page(cells, out)
    if rows is not None:
        _only(cells, rows.split(","))
    if action == "bench":
        return _bench(cells, steps)
    if action == "run":
        return _run(cells, retry)
    return _show(cells)


def _list() -> int:
    """Every study: those of one question with it, the tables with their title."""
    for name, file in question_files.shipped().items():
        print(f"{name:<28} {question_files.read(file).question}")
    for name, file in tables.shipped().items():
        print(f"{name:<28} {tables.read(str(file)).head.title}")
    return 0


def _ask(
    action: str, results: Results, arms: list[str], seeds: str | None, parallel: int, steps: int,
    retry: bool, out: str | None, rows: str | None,
) -> int:  # fmt: skip
    """Do one of the actions on a study of one question."""
    if rows is not None:
        raise RecipeError("--rows requires a table", str(results.question.file), "--arms")
    if parallel < 1:
        raise RecipeError(f"--parallel {parallel} must be at least 1")
    if action == "page":
        return questions.page(results, out)
    if action == "bench":
        return questions.bench(results, steps)
    if action == "run":
        return questions.run(results, arms, questions.numbers(seeds), parallel, retry)
    return questions.show(results)


def published_results(given: str | None) -> Path | None:
    """The folder of results of pages: ``given``, or that of the checkout."""
    if given is not None:
        return None if given == "none" else Path(given)
    published = study_files.folder().parents[1] / "docs" / "studies"
    return published if published.is_dir() else None


def _only(cells: Cells, keys: list[str]) -> None:
    known = [row.key for row in cells.rows]
    for key in keys:
        if key not in known:
            raise RecipeError(f"unknown row {key}", hint=f"rows are {', '.join(known)}")
    cells.rows = [row for row in cells.rows if row.key in keys]


def _bench(cells: Cells, steps: int) -> int:
    """Measure the rows one after another; other libraries' have the steps of genlab's."""
    from genlab.experiments.studies.timing import WARM, cpu_seconds, steps_of

    seconds = cells.table.budget.get("seconds")
    if seconds is None:
        raise RecipeError("bench requires a budget of seconds", str(cells.table.file))
    found = dict(cells.table.steps)
    timed = [row for row in cells.rows if row.trained and not row.lacking and row.kind != "peer"]
    for row in timed[:1]:
        cpu_seconds(row, WARM)  # the very first run also compiles byte code and reads files
    for row in timed:
        found[row.key] = steps_of(row, cells.table.row_seconds.get(row.key, seconds), steps)
        tables.write_steps(cells.table, found)
    print(f"steps of {len(found)} rows in {shown_path(cells.table.file)}")
    return 0


def _run(cells: Cells, retry: bool) -> int:
    from genlab.experiments.cell_work import work

    if retry:
        cells.forget_failed()
    code = work(cells)
    _show(cells)
    return code


def _show(cells: Cells) -> int:
    """Budget, the rows and what each lacks, and the work that is left."""
    lacking = missing(cells)
    print(plan(cells))
    for row in cells.rows:
        print(f"{row.key:<32} {lacking.get(row.key, 'done')}")
    if rest := left(cells):
        print(rest)
    return 0


def _page(cells: Cells, out: str | None) -> int:
    if out is None:
        print(page(cells), end="")
        return 0
    found = {cell.name: figures for cell in cells.all() if (figures := cells.figures(cell))}
    written = page_results.write_with_page(Path(out), page(cells, Path(out)), found)
    print(*map(shown_path, written), sep="\n", file=sys.stderr)
    return 0
