"""``runs``: all runs with their states, metrics and sizes; ``runs rm | archive | du | diff``.

The first word is an action if it is the name of one; runs of a recipe of that name are selected by
their folder, ``runs/rm``.
"""

from __future__ import annotations

import csv as csv_format
import io
import json as json_format
import os
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genlab.cli import housekeeping
from genlab.cli.tables import ago, bytes_of, plain, print_table, time_of
from genlab.describing import metrics as definitions
from genlab.errors import RecipeError, cannot_write
from genlab.files import replacing, shown_path
from genlab.runs import registry, selection
from genlab.runs.rows import Row, damaged

ACTIONS = ("rm", "archive", "du", "diff")
SPARE = ("HOST", "SIZE", "PARENT", "TIME", "STARTED", "RECIPE")  # columns, in this order
LONGEST_PARENT = 24  # characters of a parent with its recipe
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # begin one in a spreadsheet
OPTIONS = {  # and the actions that they are of; the others are of the list and of every action
    "best": ("",), "csv": ("",), "json": ("", "du", "diff"), "yes": ("rm", "archive"),
    "restore": ("archive",),
}  # fmt: skip


def runs_options(parser: ArgumentParser) -> None:
    """List runs, newest last; runs rm | archive | du RUNS, runs diff A B."""
    parser.add_argument(
        "words", nargs="*", metavar="rm|archive|du|diff RUN|ID|RECIPE|SWEEP|PATTERN",
        help="an action if the first word is one, then runs; default: all",
    )  # fmt: skip
    parser.add_argument("--where", metavar="'data.batch_size>=256 and state==done'",
                        help="settings, metrics and facts: and, or, not, brackets")  # fmt: skip
    parser.add_argument("--best", metavar="METRIC[:min|max]", help="show it, best last")
    parser.add_argument("--since", metavar="7d|12h|DATE", help="written to since then")
    parser.add_argument("--csv", metavar="FILE", help="write a table with all metrics; - prints it")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.add_argument("--yes", action="store_true", help="rm, archive: do not ask")
    parser.add_argument("--restore", action="store_true", help="archive: unpack ID.tar.gz again")
    parser.add_argument("--runs-in", dest="root", default="runs", metavar="DIR")


def runs(words: list[str], root: str = "runs", **options: Any) -> int:
    """List runs, or call an action on them."""
    action = words[0] if words[:1] and words[0] in ACTIONS else ""
    words = words[1:] if action else words
    for name, actions in OPTIONS.items():
        if options[name] and action not in actions:
            called = f"genlab runs {action}".strip()
            of = " or ".join(f"genlab runs {one}".strip() for one in actions)
            raise RecipeError(f"{called} has no option --{name}", hint=f"it is of {of}")
    if options["csv"] and options["json"]:
        raise RecipeError("--csv cannot be combined with --json")
    if root != "runs" and not os.path.isdir(root):
        raise RecipeError(f"--runs-in {root} is not a folder")
    if action == "archive" and options["restore"]:
        return housekeeping.restore(words, options["yes"])
    if action == "diff":
        return housekeeping.diff(words, root, options["json"])
    if action in ("rm", "archive"):
        _refuse_all(action, words, root, bool(options["where"] or options["since"]))
    rows = selected(words, root, options["where"], options["since"])
    if not action:
        return _list(rows, root, options["best"], options["csv"], options["json"])
    if action == "du":
        return housekeeping.du(rows, root, options["json"])
    return getattr(housekeeping, action)(rows, root, options["yes"])


def _refuse_all(action: str, words: Sequence[str], root: str, limited: bool) -> None:
    """Refuse to change runs that nothing selects, or the folder of all of them by its name.

    Raises:
        RecipeError: so it is.
    """
    if not words and not limited:
        hint = "name them, or give --where or --since"
        raise RecipeError(f"genlab runs {action}: which runs?", hint=hint)
    for word in words:
        if word.strip() and selection.holds_all(word, root):
            hint = "name recipes or runs, or give --where"
            raise RecipeError(f"genlab runs {action} {word}: it holds all runs", hint=hint)


def selected(words: Sequence[str], root: str, where: str | None, since: str | None) -> list[Row]:
    """The rows of the runs that names and options select, newest last."""
    rows = selection.by_words(registry.scan(root), words, root)
    if since is not None:
        rows = selection.since(rows, since)
    return selection.where(rows, where, root) if where is not None else rows


def _list(rows: Sequence[Row], root: str, best: str | None, csv: str | None, json: bool) -> int:
    metric = ""
    if best is not None:
        metric, _, rows = selection.ordered(rows, best, _better)
    if csv is not None:
        _write_csv(rows, root, csv, metric)
        return 0
    if json:
        print(json_format.dumps([as_json(row, metric) for row in rows], indent=2))
        return 0
    if not rows:
        print(f"no such runs under {root}/", file=sys.stderr)
        return 0
    _print(rows, metric)
    for file in (file for row in rows if row.state == "damaged"
                 for file in damaged(Path(root) / row.path)):  # fmt: skip
        print(f"damaged: {shown_path(file)}", file=sys.stderr)
    return 0


def _better(metric: str) -> str:
    """``min`` or ``max`` as the metric's definition says; empty where it does not."""
    noun = metric.removeprefix("evaluate/")
    found = [one for key in (metric, f"test/{noun}", f"judge/{noun}")
             for one in definitions.definitions(key)]  # fmt: skip
    modes = {"higher": "max", "lower": "min"}
    return next((modes[one.better] for one in found if one.better in modes), "")


def facts(row: Row) -> dict[str, Any]:
    """The facts of a run for programs."""
    return {name: selection.fact(row, name) for name in selection.FACTS if name != "age"}


def as_json(row: Row, metric: str) -> dict[str, Any]:
    """A run for programs; NaN by its name, which JSON lacks."""
    known = {"path": row.path} | facts(row) | {"parent": row.parents, "monitor": row.monitor}
    if metric:
        known[metric] = row.value(metric)
        known |= {"judge": row.judge(metric)} if row.judge(metric) else {}
    kept = asdict(row)
    whole = known | {"metrics": kept["metrics"], "judges": kept["judges"]}
    return {key: _plain(value) for key, value in whole.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, float) and not abs(value) <= sys.float_info.max:
        return str(value)
    return value


def _write_csv(rows: Sequence[Row], root: str, target: str, metric: str) -> None:
    """Write facts, metrics, and the settings in which the runs differ.

    Raises:
        RunError, DiskError: the file cannot be written.
    """
    kept = registry.settings(root, list(rows))
    known = [name for name in selection.FACTS if name != "age"]
    names = list(dict.fromkeys(name for row in rows for name in row.metrics if name not in known))
    keys = dict.fromkeys(key for one in kept.values() for key in one)
    differ = [key for key in keys if len({repr(one.get(key)) for one in kept.values()}) > 1]
    judged = ["judge"] if any(row.judge(metric) for row in rows) else []
    text = io.StringIO()
    writer = csv_format.writer(text, lineterminator="\n")
    first = [metric] if metric and metric not in names else []  # not twice
    writer.writerow(map(_cell, ["path", *known, *first, *judged, *names, *differ]))
    for row in rows:
        own = facts(row)
        cells = [
            row.path, *(own[name] for name in known), *(row.value(name) for name in first),
            *(row.judge(metric) for _ in judged), *(row.metrics.get(name) for name in names),
            *(kept[row.path].get(key) for key in differ),
        ]  # fmt: skip
        writer.writerow(map(_cell, cells))
    if target == "-":
        print(text.getvalue(), end="")
        return
    try:
        with replacing(Path(target)) as draft:
            draft.write_text(text.getvalue())
    except OSError as error:
        raise cannot_write(target, error) from None
    print(f"{len(rows)} runs in {target}")


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in FORMULA else value


def _print(rows: Sequence[Row], metric: str) -> None:
    """A line a run; columns that all runs leave empty, or that are too many, are left out."""
    long = max(len(", ".join(row.parents)) for row in rows) > LONGEST_PARENT
    parent = (lambda name: name.rpartition("/")[2]) if long else str
    table = [
        {
            "RUN": row.id,
            "RECIPE": row.recipe,
            "STATE": row.state,
            "STEP": f"{row.step:,}",
            metric or "BEST": _best(row, metric),
            "TIME": time_of(row.hours),
            "SIZE": bytes_of(row.size),
            "HOST": row.host,
            "PARENT": ", ".join(map(parent, row.parents)),
            "STARTED": ago(row.started) if row.state != "damaged" else "",
        }
        for row in rows
    ]
    print_table(table, right=("STEP", "TIME", "SIZE", metric), spare=SPARE)
    for judge in dict.fromkeys(row.judge(metric) for row in rows if metric):
        if judge:
            print(f"judge: {plain(judge)}")


def _best(row: Row, metric: str) -> str:
    value = row.value(metric) if metric else row.best
    if value is None:
        return ""
    return f"{value:.4g}" if metric else f"{row.monitor} {value:.4g}"
