"""``compare``: runs side by side: what differs, metrics with their spread over seeds, curves."""

from __future__ import annotations

import json as json_format
import os
import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from genlab.cli.tables import room, width_of
from genlab.drawing.may_fail import may_fail
from genlab.errors import RecipeError, RunError, nearest
from genlab.experiments.comparison import (
    MEASURED,
    Group,
    Run,
    chosen,
    differing,
    each,
    grouped,
    ranked,
    shown,
)
from genlab.experiments.usual import usual_curves, usual_metrics
from genlab.files import shown_path
from genlab.runs.selection import metric_of

MOST_SETTINGS = 8  # shown by default
SHOWN = ("val/", "test/", MEASURED)  # metrics that the line below the table names
MOST_NAMED = 12  # names below a table
WIDEST = 30  # characters of a setting in a column
MOST_KEPT = 2  # the number of runs and the first metric are always shown


def compare_options(parser: ArgumentParser) -> None:
    """Compare runs: differences, mean ± sd over seeds, curves."""
    parser.add_argument("runs", nargs="+", metavar="RUN|ID|RECIPE|SWEEP|slurm-JOB|PATTERN")
    parser.add_argument("--metric", metavar="val/loss,...", help="metrics to show and draw")
    parser.add_argument("--out", metavar="FILE.png", help="default: compare.png next to the runs")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--group-by", metavar="KEY,...", help="gather runs by these settings")
    parser.add_argument("--each", action="store_true", dest="each_run", help="a row a run")
    parser.add_argument("--runs-in", dest="root", default="runs", metavar="DIR")


def compare(
    runs: list[str],
    metric: str | None = None,
    out: str | None = None,
    json: bool = False,
    group_by: str | None = None,
    each_run: bool = False,
    root: str = "runs",
) -> None:
    """Print a table of runs, best first, and draw their curves."""
    if out is not None and Path(out).suffix.lower() != ".png":
        raise RecipeError(f"--out {out} must end in .png")
    if group_by and each_run:
        raise RecipeError("--each cannot be combined with --group-by")
    found = readable(chosen(runs, root))
    known = {key for run in found for key in run.figures}
    asked = [metric_of(one, known, "--metric") for one in metric.split(",")] if metric else []
    by = group_by.split(",") if group_by else []
    _check("--group-by: no run has the setting", by, (key for run in found for key in run.settings))
    _check("--metric: no run has the figure", asked, known)
    groups, twice = (each(found), []) if each_run else grouped(found, by)
    selected, mode = found[0].monitor
    first = asked[0] if asked else selected
    same_noun = first.removeprefix("best/").split("/")[-1] == selected.split("/")[-1]
    order = ranked(groups, first, mode) if selected and same_noun else groups
    columns = asked or usual_metrics(found, selected)
    target = Path(out) if out else beside(found, runs, root, "compare.png")
    if not json:
        _print(order, columns, each_run)
        _remarks(found, twice, columns, all_asked=bool(asked))
    drawn: list[str] | None = None
    with may_fail(shown_path(target)):
        drawn = _draw(order, usual_curves(found, selected, asked), target, _title(found, runs))
    if json:
        table = as_json(order, found, columns, target if drawn else None)
        print(json_format.dumps(table, indent=2))
        return
    if drawn is not None:  # else its warning says why
        none = "no curves: metrics.csv has none of these"
        print(f"curves  {shown_path(target)}" if drawn else none)


def readable(found: Sequence[Run]) -> list[Run]:
    """The runs whose files can be read; of the others a line each.

    Raises:
        RunError: none of them can be.
    """
    for run in found:
        if run.damage:
            print(f"left out: {run.damage}", file=sys.stderr)
    kept = [run for run in found if not run.damage]
    if not kept:
        raise RunError("no run to compare: the files of all are damaged")
    return kept


def _check(what: str, asked: Sequence[str], known: Iterable[str]) -> None:
    names = set(known)
    for name in asked:
        if name not in names:
            raise RecipeError(f"{what} {name}", hint=nearest(name, names))


def _remarks(
    found: Sequence[Run], twice: Sequence[Run], columns: Sequence[str], all_asked: bool
) -> None:
    """Notes below the table: runs left out or not finished, whose features, metrics left out."""
    for run in twice:
        print(f"not counted, the same seed and settings again: {shown_path(run.path)}")
    for run in found:
        if run.state != "done":
            print(f"{run.state} at step {run.step:,}: {shown_path(run.path)}")
    for judge in dict.fromkeys(run.judge(name) for name in columns for run in found):
        if judge:
            print(f"judge: {judge}")
    others = {key for run in found for key in run.figures if key.startswith(SHOWN)}
    kept = {*columns, f"{MEASURED}step"}
    left = sorted(others - kept, key=lambda name: (not name.startswith("val/"), name))
    if left and not all_asked:
        rest = f" and {len(left) - MOST_NAMED} others" if len(left) > MOST_NAMED else ""
        print(f"more with --metric: {', '.join(left[:MOST_NAMED])}{rest}")


def beside(found: Sequence[Run], words: Sequence[str], root: str, name: str) -> Path:
    """Default path of a file about runs: in the sweep's own folder, else the runs' common one."""
    folders = [Path(words[0]), *(Path(root).glob(f"**/{words[0]}"))] if len(words) == 1 else []
    for folder in folders:
        if (folder / "sweep.json").is_file():
            return folder / name
    common = Path(os.path.commonpath([run.path.parent for run in found]))
    return common / name


def _title(found: Sequence[Run], words: Sequence[str]) -> str:
    names = sorted({run.recipe for run in found})
    return ", ".join(names) if len(names) < 4 else " ".join(words)


def _draw(groups: Sequence[Group], panels: Sequence[str], target: Path, title: str) -> list[str]:
    from genlab.experiments.curves import draw

    return draw(groups, panels, target, title)


def cell(group: Group, metric: str) -> str:
    """``0.912 ± 0.004``; in parentheses what is not final; others are counted."""
    one = group.summary(metric)
    bad = f" ({one['not_finite']} not finite)" if one["not_finite"] else ""
    if one["mean"] is None:
        return bad.strip() or "-"
    spread = f" ± {one['sd']:.2g}" if one["sd"] is not None else ""
    text = f"{one['mean']:.4g}{spread}{bad}"
    return text if any(run.state == "done" for run in group.runs) else f"({text})"


def _print(groups: Sequence[Group], columns: Sequence[str], each_run: bool) -> None:
    """One line an experiment: its first run, settings, how many runs, metrics; then wide ones."""
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    texts = {key: [shown(group.settings.get(key, "-"), sys.maxsize) for group in groups]
             for key in keys}  # fmt: skip
    narrow = [key for key in keys if max(map(len, texts[key])) <= WIDEST]
    left, cells = narrow[MOST_SETTINGS:], narrow[:MOST_SETTINGS]
    states = [group.runs[0].state if each_run else _count(group) for group in groups]
    first = [["run", *(group.label for group in groups)]]
    settings = {key: [key.removeprefix("model."), *texts[key]] for key in cells}
    last = [["state" if each_run else "runs", *states]]
    last += [[column, *(cell(group, column) for group in groups)] for column in columns]
    while settings and _width([*first, *settings.values(), *last]) > room():
        settings.popitem()
    hidden = list[str]()
    while len(last) > MOST_KEPT and _width([*first, *last]) > room():
        hidden.insert(0, last.pop()[0])
    table = [*first, *settings.values(), *last]
    _print_aligned([*zip(*table, strict=True)], len(settings) + 2)
    if hidden:
        print(f"the terminal has no room for {', '.join(hidden)}", file=sys.stderr)
    for key in keys:
        if key not in settings and key not in left:
            print(key)
            for group, text in zip(groups, texts[key], strict=True):
                print(f"  {group.label}  {text}")
    if left:
        print(f"they differ in {len(left)} more settings: {', '.join(left)}")
    if any(len(group.counted) > 1 for group in groups):
        print("± standard deviation over runs (n - 1); val/... last epoch, best/... selected")


def _width(columns: Sequence[Sequence[str]]) -> int:
    return width_of([max(map(len, column)) for column in columns])


def _print_aligned(rows: Sequence[Sequence[str]], left: int) -> None:
    """Print rows in columns, a number of them aligned on the left."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        texts = [
            text.ljust(width) if k < left else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(texts).rstrip())


def _count(group: Group) -> str:
    """``3``, or ``2 +1 running`` where some are not finished."""
    states = Counter(run.state for run in group.runs)
    finished = states.pop("done", 0)
    return " ".join([str(finished), *(f"+{n} {state}" for state, n in states.items())])


def as_json(
    groups: Sequence[Group], found: Sequence[Run], columns: Sequence[str], picture: Path | None
) -> dict[str, Any]:
    """The table for programs."""
    judged = {one: sorted({run.judge(one) for run in found} - {""}) for one in columns}
    return {
        "judges": {metric: names for metric, names in judged.items() if names},
        "differ": differing(found),
        "picture": str(picture) if picture else None,
        "groups": [
            {
                "settings": group.settings,
                "seeds": [run.seed for run in group.counted],
                "runs": [
                    {
                        "id": run.path.name,
                        "path": str(run.path),
                        "seed": run.seed,
                        "state": run.state,
                        "step": run.step,
                    }
                    for run in group.runs
                ],
                "metrics": {column: group.summary(column) for column in columns},
            }
            for group in groups
        ],
    }
