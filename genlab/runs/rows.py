"""Facts of one run for the registry, read from its files."""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from genlab.errors import InputError, RunError
from genlab.files import rows_of, seconds_of, step_of
from genlab.recipes.files import read
from genlab.runs.checkpoint_files import checkpoints, covers
from genlab.runs.folders import files_below
from genlab.runs.json_files import read_json, whole_number
from genlab.runs.settings import read_groups

TAIL = 65_536  # bytes at the end of metrics.csv in which its last row is looked for
JUDGE, MOST_WORDS = "evaluate/judge_", 300
STATES = ("running", "done", "stopped", "failed", "stale", "damaged")


@dataclass
class Row:
    """A run in the registry.

    Args:
        path: its directory, below the folder of runs.
        recipe: name of its recipe.
        state: ``running`` (a live process holds it), ``done`` (metrics.json is of its last step),
            ``stopped`` (by a signal or a limit, as it said), ``failed`` (as it said), ``stale``
            (neither held nor ended: killed) or ``damaged`` (see `damaged`).
        step: optimiser steps done; before the end those of its newest checkpoint.
        monitor: metric that selects its checkpoint; empty for none.
        mode: ``min`` or ``max``.
        hours: training time over all starts; before the end that in its newest checkpoint.
        size: bytes of its files.
        host: machine.
        device: device.
        parents: runs and files whose weights it started from.
        fingerprint: that of its settings and code; empty where run.json has none.
        seed: its seed.
        started: seconds since 1970.
        updated: seconds since 1970 of its last change.
        metrics: final ones; before the end the last ones written, and ``best/`` ones so far.
        judges: weights of the feature extractors that ``evaluate/`` metrics are named after.
    """

    path: str
    recipe: str
    state: str
    step: int
    monitor: str
    mode: str
    hours: float
    size: int
    host: str
    device: str
    parents: list[str]
    fingerprint: str
    seed: int
    started: float
    updated: float
    metrics: dict[str, float] = field(default_factory=dict)
    judges: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The name of its directory."""
        return self.path.rpartition("/")[2]

    @property
    def best(self) -> float | None:
        """The value of its monitor at the selected checkpoint."""
        return self.value(self.monitor)

    def value(self, metric: str) -> float | None:
        """A metric at the selected checkpoint, else its last value; None where it has none."""
        return self.metrics.get(f"best/{metric}", self.metrics.get(metric))

    def judge(self, metric: str) -> str:
        """The weights of the feature extractor behind a metric; empty where it has none."""
        return judge_of(metric, self.judges)


def read_row(root: Path, path: str, held: bool) -> Row:
    """Read a run's files.

    Args:
        root: folder of all run directories.
        path: the run's directory below it.
        held: True if a live process has locked it.
    """
    run = root / path
    facts, final = read_json(run / "run.json"), read_json(run / "metrics.json")
    recipe = read_groups(run / "recipe.yaml", "checkpoint", "seed_everything")
    monitor, mode = _selects(recipe)
    state, newest = _standing(run, held, recipe, facts, final)
    if state == "done":
        step, metrics = whole_number(final.get("step")), numbers(final)
    else:
        step, metrics = _so_far(run / "metrics.csv", monitor, mode, final)
        step = step_before_end(newest, step, held)
    started, size, updated = _time(facts.get("started")), *_size(run)
    return Row(
        path=path,
        recipe=str(facts.get("recipe") or path.rpartition("/")[0]),
        state=state,
        step=step,
        monitor=monitor,
        mode=mode,
        hours=_hours(final, newest),
        size=size,
        host=str(facts.get("host") or ""),
        device=str(facts.get("device") or ""),
        parents=_parents(facts.get("parents")),
        fingerprint=str(facts.get("fingerprint") or ""),
        seed=whole_number(facts.get("seed"), whole_number(recipe.get("seed_everything"))),
        started=started or updated,
        updated=updated,
        metrics=metrics,
        judges=judges(final),
    )


def _standing(
    run: Path, held: bool, recipe: dict[str, Any], facts: dict[str, Any], final: dict[str, Any]
) -> tuple[str, Path | None]:
    """A run's state, and its newest checkpoint unless it is done."""
    newest = next(iter(checkpoints(run)), None)
    state = state_of(held, facts, final, _last_step(run / "metrics.csv"), newest)
    newest = newest if state != "done" else None
    if not held and not (recipe and facts and final) and damaged(run):
        state = "damaged"
    return state, newest


def _hours(final: dict[str, Any], newest: Path | None) -> float:
    """Hours of training, those up to a checkpoint too."""
    until = seconds_of(newest) if newest else 0
    return max(number(final.get("fit_seconds")) or 0.0, until) / 3600


def _selects(recipe: dict[str, Any]) -> tuple[str, str]:
    """The metric that selects a run's checkpoint, and ``min`` or ``max``."""
    known = recipe.get("checkpoint")
    known = known if isinstance(known, dict) else {}
    mode = "max" if known.get("mode") == "max" else "min"
    return str(known.get("monitor", "val/loss") or ""), mode


def damaged(run: Path) -> list[Path]:
    """The files of a run that hold no facts, though they are there."""
    found = [run / name for name in ("run.json", "metrics.json")]
    found = [file for file in found if os.path.lexists(file) and not read_json(file)]
    try:
        read(run / "recipe.yaml")
    except (InputError, OSError):
        found.append(run / "recipe.yaml")
    return [file for file in found if os.path.lexists(file)]


def step_before_end(newest: Path | None, rows: int, held: bool) -> int:
    """Steps of a run before its end: of its newest checkpoint, from which it would continue.

    Args:
        newest: its newest checkpoint.
        rows: steps that metrics.csv tells of.
        held: True if a live process trains it.
    """
    kept = step_of(newest) if newest else -1
    return max(kept, rows) if held or kept < 0 else kept


def judge_of(metric: str, named: dict[str, str]) -> str:
    """The weights of the feature extractor that a metric is named after; empty for none."""
    found = [name for name in named if f"_{name}_" in f"{metric}_"]
    return named[max(found, key=len)] if found else ""


def judges(final: dict[str, Any]) -> dict[str, str]:
    """The feature extractors in a metrics.json: their names in metrics, and their weights."""
    named = {key: value for key, value in final.items() if key.startswith(JUDGE)}
    return {key[len(JUDGE) :]: str(value)[:MOST_WORDS] for key, value in named.items()}


def state_of(
    held: bool, facts: dict[str, Any], final: dict[str, Any], last: int, newest: Path | None
) -> str:
    """The state of a run: each start writes run.json anew, without an earlier one's end.

    A run that was done stays so if a start that was to continue it ended before a checkpoint.

    Args:
        held: True if a live process trains it.
        facts: content of run.json.
        final: content of metrics.json.
        last: last step in metrics.csv.
        newest: newest checkpoint.
    """
    if held:
        return "running"
    for name in ("failed", "stopped"):
        if facts.get(name):
            return "done" if covers(final, newest) else name
    return "done" if final and whole_number(final.get("step")) >= last else "stale"


def number(value: Any) -> float | None:
    """A value of metrics.json, where NaN is written as its name; None for anything else."""
    if value in ("nan", "inf", "-inf"):
        return float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) <= sys.float_info.max or value != value else None


def numbers(content: dict[str, Any]) -> dict[str, float]:
    """The numbers of a metrics.json by name."""
    return {key: n for key, value in content.items() if (n := number(value)) is not None}


def _last_step(file: Path) -> int:
    """The step in the last whole row of metrics.csv; -1 where it has none."""
    with suppress(OSError, ValueError), file.open("rb") as stream:
        place = next(csv.reader([stream.readline(TAIL).decode()]), []).index("step")
        stream.seek(max(stream.tell(), os.fstat(stream.fileno()).st_size - TAIL))
        lines = stream.read(TAIL).decode(errors="replace").split("\n")[:-1]
        cells = next(csv.reader(lines[-1:]), [])
        return int(cells[place]) if place < len(cells) else -1
    return -1


def _so_far(
    file: Path, monitor: str, mode: str, final: dict[str, Any]
) -> tuple[int, dict[str, float]]:
    """Steps done, and the metrics of a run that has not come to its end."""
    steps, last, best = 0, dict[str, float](), dict[str, float]()
    for step, values in _rows(file):
        last |= values
        if not any(name.startswith("test/") for name in values):  # they count steps otherwise
            steps = max(steps, step + 1)
        value, former = values.get(monitor, math.nan), best.get(monitor, math.nan)
        if not math.isnan(value) and not (value >= former if mode == "min" else value <= former):
            best = {k: v for k, v in values.items() if k.startswith("val/")} | {monitor: value}
    evaluated = {k: v for k, v in numbers(final).items() if k.startswith("evaluate/")}
    return steps, last | {f"best/{name}": value for name, value in best.items()} | evaluated


def _rows(file: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Step and values of each row of a metrics.csv; other cells are left out."""
    try:
        rows = rows_of(file)
    except RunError:
        return
    for row in rows:
        values = dict[str, float]()
        for name, cell in row.items():
            with suppress(ValueError, TypeError):
                values |= {name: float(cell)} if cell and name != "step" else {}
        if row["step"].isdecimal():
            yield int(row["step"]), values


def _time(text: Any) -> float:
    """Seconds since 1970 of a time in run.json; 0 for anything else."""
    with suppress(ValueError, TypeError, OverflowError):
        return datetime.fromisoformat(text).timestamp()
    return 0.0


def _parents(facts: Any) -> list[str]:
    known = facts.values() if isinstance(facts, dict) else ()
    named = [one.get("run") or one.get("file") for one in known if isinstance(one, dict)]
    return [str(name) for name in named if name]


def _size(run: Path) -> tuple[int, float]:
    """Bytes of a run's files, and the time of the last change; no link is followed."""
    found = list(files_below(run))
    return sum(one.st_size for one in found), max((one.st_mtime for one in found), default=0.0)
