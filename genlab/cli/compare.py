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
from genlab.files import shown_path
from genlab.runs.selection import metric_of

MOST_FIGURES, MOST_PANELS, MOST_SETTINGS = 6, 4, 8  # shown by default in tables and plots
MAIN = ("linear_top1", "knn_top1", "accuracy")  # of `genlab evaluate`, after a judge's
SHOWN = ("val/", "test/", MEASURED)  # metrics that the line below the table names
MOST_MEASURED, MOST_NAMED = 4, 12  # metrics of `genlab evaluate`; names below a table
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
    found = _readable(chosen(runs, root))
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
    columns = asked or _usual(found, selected)
    target = Path(out) if out else _beside(found, runs, root)
    if not json:
        _print(order, columns, each_run)
        _remarks(found, twice, columns, all_asked=bool(asked))
    drawn: list[str] | None = None
    with may_fail(shown_path(target)):
        drawn = _draw(order, _panels(found, selected, asked), target, _title(found, runs))
    if json:
        table = as_json(order, found, columns, target if drawn else None)
        print(json_format.dumps(table, indent=2))
        return
    if drawn is not None:  # else its warning says why
        none = "no curves: metrics.csv has none of these"
        print(f"curves  {shown_path(target)}" if drawn else none)


def _readable(found: Sequence[Run]) -> list[Run]:
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


def _usual(found: Sequence[Run], selected: str) -> list[str]:
    """The selecting metric, then those of the test set, then others of the last epoch."""
    seen = list(dict.fromkeys(key for run in found for key in run.figures))
    noun = selected.split("/")[-1]
    nouns = [key.split("/")[-1] for key in seen if key.startswith(("val/", "test/"))]
    nouns = sorted(dict.fromkeys(nouns), key=lambda one: one != noun)  # the selecting one first
    kinds = ("val", "best/val", "test")
    ordered = [f"{kind}/{one}" for one in nouns for kind in kinds]
    first = [f"{kind}/{noun}" for kind in kinds]
    tested = [key for key in ordered if key.startswith("test/")]
    tested.sort(key=lambda key: key.replace("test/", "val/") in seen)  # those it alone has first
    usual = [key for key in dict.fromkeys([*first, *tested, *ordered]) if key in seen]
    usual = usual[:MOST_FIGURES]
    usual += _measured(found, seen, {key.split("/")[-1] for key in usual})
    return usual or [key for key in seen if key.startswith("train/")][:1]


def _measured(found: Sequence[Run], seen: Sequence[str], known: set[str]) -> list[str]:
    """The main metrics of `genlab evaluate` that the columns do not have already."""
    nouns = {key: key.removeprefix(MEASURED) for key in seen if key.startswith(MEASURED)}
    judged = [key for key, noun in nouns.items() if any(run.judge(key) for run in found)
              and noun.startswith("fid_") and not noun.endswith("_floor")]  # fmt: skip
    others = [key for one in MAIN if (key := f"{MEASURED}{one}") in nouns and one not in known]
    return [*judged, *others][:MOST_MEASURED]


def _panels(found: Sequence[Run], selected: str, asked: Sequence[str]) -> list[str]:
    seen = list(dict.fromkeys(key for run in found for key in run.curves))
    if asked:
        return [key.removeprefix("best/") for key in asked if key.removeprefix("best/") in seen]
    extra = [key for key in seen if key.startswith("val/") and key != selected]
    wanted = ["train/loss", selected, "val/accuracy", "val/knn_top1", *extra]
    return [key for key in dict.fromkeys(wanted) if key in seen][:MOST_PANELS]


def _beside(found: Sequence[Run], words: Sequence[str], root: str) -> Path:
    """Default path of the plot: the sweep's own folder, else the runs' common one."""
    folders = [Path(words[0]), *(Path(root).glob(f"**/{words[0]}"))] if len(words) == 1 else []
    for folder in folders:
        if (folder / "sweep.json").is_file():
            return folder / "compare.png"
    common = Path(os.path.commonpath([run.path.parent for run in found]))
    return common / "compare.png"


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
