"""``reproduce``: published tables, trained, measured and written next to the papers' results."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from genlab.cli.arguments import job_options
from genlab.errors import RecipeError
from genlab.experiments import page_results
from genlab.experiments.arrays import job_of, submit_array
from genlab.experiments.tables import table as tables
from genlab.experiments.tables.cells import TableCells
from genlab.experiments.tables.page import missing, other_code, page
from genlab.files import shown_path
from genlab.recipes import COMMAND_LINE


def reproduce_options(parser: ArgumentParser) -> None:
    """Published tables: their recipes trained, measured and written next to the papers' results.

    ls lists the tables that there are. With a TABLE, what is missing is trained and measured, seed
    by seed; several such commands at a time share the work, and what was killed goes on. A recipe
    that was edited is trained anew; runs of other code stay, and the page names them. Then a page
    has mean, deviation and seconds of each row, its limits and the published results, and every
    result stands in a JSON file next to it. --known lets such results take part elsewhere: in a
    checkout those of docs/studies/tables do, unless it says none.
    """
    parser.add_argument("words", nargs="+", metavar="TABLE|ls|key=value")
    parser.add_argument("--rows", metavar="ROW,...", help="only these rows")
    parser.add_argument("--show", action="store_true", help="say what is missing; train nothing")
    parser.add_argument("--retry", action="store_true", help="run what has failed again")
    parser.add_argument(
        "--out", metavar="FILE.md", help="the page; default: tables/TABLE.md in DIR"
    )
    parser.add_argument("--known", metavar="DIR", help="results of pages: DIR/TABLE.json; none")
    parser.add_argument("--runs-in", dest="root", default="runs", metavar="DIR")
    parser.add_argument(
        "--submit", action="store_true", help="train as a Slurm job array; see submit"
    )
    job_options(parser)


def reproduce(
    words: list[str],
    rows: str | None = None,
    show: bool = False,
    retry: bool = False,
    out: str | None = None,
    known: str | None = None,
    root: str = "runs",
    submit: bool = False,
    **wish: Any,
) -> int:
    """List the tables, say what one lacks, or train, measure and write it."""
    name, *settings = sorted(words, key=lambda word: "=" in word)
    if odd := [word for word in settings if "=" not in word]:
        raise RecipeError(f"{odd[0]} is not key=value; name one table", COMMAND_LINE)
    if name == "ls" and not settings:
        for table, file in tables.shipped().items():
            print(f"{table:<28} {tables.read(str(file)).head.title}")
        return 0
    if "=" in name:
        raise RecipeError("reproduce requires a TABLE", hint="genlab reproduce ls lists them")
    cells = TableCells(tables.read(name), Path(root), _known(known), settings)
    target = _target(cells, out)
    if rows is not None:
        cells.only(rows.split(","))
    cells.check()
    if show:
        return _show(cells)
    if retry:
        cells.forget_failed()
    if submit:
        return _submit(cells, wish)
    from genlab.experiments.cell_work import work

    code = work(cells)
    return _write(cells, target, out is not None) or code


def _target(cells: TableCells, out: str | None) -> Path:
    """The page's file, before anything is trained."""
    if out is not None and Path(out).suffix != ".md":
        raise RecipeError(f"--out {out} is not a file of Markdown", hint="FILE.md")
    return Path(out) if out is not None else cells.folder.with_suffix(".md")


def _known(given: str | None) -> Path | None:
    """The folder of results of pages: ``given``, or that of the checkout."""
    if given is not None:
        return None if given == "none" else Path(given)
    published = tables.folder().parents[1] / "docs" / "studies" / "tables"
    return published if published.is_dir() else None


def _show(cells: TableCells) -> int:
    """The rows and what each lacks."""
    lacking, other = missing(cells), other_code(cells)
    for key, row in cells.rows.items():
        code = f", {other[key]} of other code" if key in other else ""
        print(f"{key:<24} {row.recipe:<32} {lacking.get(key, 'done')}{code}")
    return 0


def _write(cells: TableCells, target: Path, complete: bool) -> int:
    """The page with every row of the table, and the results next to it."""
    cells.rows = dict(cells.table.rows)
    found = {cell.name: figures for cell in cells.all() if (figures := cells.figures(cell))}
    written = page_results.write_with_page(target, page(cells, target), found, complete)
    print(page(cells), end="")
    print(*map(shown_path, written), sep="\n", file=sys.stderr)
    return int(any("failed" in one for one in found.values()))


def _submit(cells: TableCells, wish: dict[str, Any]) -> int:
    """One job array, a task for each run that is not finished and waits for no other."""
    free = [cell for cell in cells.all() if not cells.ended(cell) and not cells.waits(cell)]
    trials = [cells.trial(cell) for cell in free]
    waiting = [trial for trial in trials if trial.state not in ("done", "running")]
    if not waiting:
        print("every run is finished: genlab reproduce without --submit measures them")
        return 0
    job = job_of(f"tables/{cells.table.name}", cells.root, wish)
    cells.folder.mkdir(parents=True, exist_ok=True)
    answer = submit_array(cells.folder, waiting, job)
    print(f"job    {answer}, an array of {len(waiting)}")
    print("next   the same command without --submit measures them and writes the page")
    return 0
