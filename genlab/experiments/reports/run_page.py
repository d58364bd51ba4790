"""The page of one run: numbers, curves, images, settings, history and cost."""

from __future__ import annotations

import ast
import math
from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Any

from genlab import recipes, runs
from genlab.describing import keys
from genlab.errors import InputError
from genlab.experiments.comparison import Run
from genlab.experiments.reports import charts
from genlab.experiments.reports.blocks import (
    Cards,
    Cell,
    Chart,
    Code,
    Facts,
    Fold,
    Report,
    Row,
    Section,
    Table,
    Text,
)
from genlab.experiments.reports.charts import Line
from genlab.experiments.reports.images import of_run
from genlab.experiments.reports.thinning import resolution
from genlab.recipes.class_names import PACKAGES
from genlab.runs.rows import damaged
from genlab.runs.settings import flat, shown

BUDGET = 1_200_000  # bytes of images
FIRST_CHARTS = 4  # that are shown at once
COST = ("images_per_second", "seconds", "peak_memory", "lr")  # nouns that are no result


def page(run: Run) -> Report:
    """The page of a run.

    Args:
        run: the run; its files can be read.
    """
    facts = run.facts
    began = str(facts.get("started", ""))[:16].replace("T", " ")
    device = str(facts.get("device", ""))
    world = runs.whole_number(facts.get("world_size"), 1)
    lead = [run.path.name, f"seed {run.seed}", f"step {run.step:,}", began and f"started {began}",
            f"{world} x {device}" if world > 1 else device]  # fmt: skip
    return Report(
        title=run.recipe, mark=run.state, lead=" · ".join(word for word in lead if word),
        sections=[
            Section("Results", [*_damage(run), *_results(run)]),
            Section("Curves", curves(run)),
            Section("Images", of_run(run.path, BUDGET)),
            Section("Settings", _settings(run)),
            Section("History", _history(facts)),
            Section("Cost", _cost(run)),
            Section("Versions and origin", [Facts(_origin(facts))]),
        ],
    )  # fmt: skip


def _damage(run: Run) -> list[Any]:
    """The files of the run that cannot be read, if any."""
    names = ", ".join(file.name for file in damaged(run.path))
    return [Text(f"Damaged, and left out here: {names}.")] if names else []


def _results(run: Run) -> list[Any]:
    """The selecting metric and those of the test first, then every metric in a table."""
    figures, (monitor, _) = run.figures, run.monitor
    first = {f"best/{monitor}": "selected", monitor: "last validation"}
    if monitor in figures and figures.get(f"best/{monitor}") == figures[monitor]:
        first = {monitor: "selected and last validation"}
    first |= {name: "" for name in figures if name.startswith("test/")}
    cards = [(name.removeprefix("best/"), shown_number(figures[name]), note)
             for name, note in first.items() if name in figures]  # fmt: skip
    rows: dict[str, dict[str, float]] = defaultdict(dict)
    for name, value in figures.items():
        kind, _, noun = name.rpartition("/")
        if kind and kind != "best" and not noun.startswith(COST):
            rows[noun][kind] = value
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row))
    order: list[str] = [
        kind for kind in ("train", "val", "best/val", "test", "evaluate") if kind in kinds
    ]
    order += [kind for kind in kinds if kind not in order]
    cells = [[Cell(noun), *(_cell(row.get(kind)) for kind in order)] for noun, row in rows.items()]
    caption = "val: last validation; best/val: at the selected checkpoint."
    table = Table(["metric", *order], cells, caption=caption)
    blocks: list[Any] = [Cards(cards[:12])] if cards else []
    return [*blocks, table] if cells else blocks


def curves(run: Run) -> list[Any]:
    """A chart for each metric, training and validation together; the selecting one first."""
    nouns: dict[str, list[Line]] = defaultdict(list)
    for name, pairs in run.curves.items():
        kind, _, noun = name.partition("/")
        if kind in ("train", "val") and len(pairs) > 1:
            steps, values = zip(*pairs, strict=True)
            nouns[noun].append(Line(name, steps, values))
    selecting = run.monitor[0].partition("/")[2]
    order = sorted(
        nouns,
        key=lambda noun: (
            noun != selecting,
            noun != "loss",
            noun.startswith(COST),
            not any(line.name.startswith("val/") for line in nouns[noun]),
        ),
    )
    pixels = resolution(sum(map(len, nouns.values())), 2)
    drawn = [Chart(noun, charts.curves(nouns[noun], noun, pixels=pixels)) for noun in order]
    blocks: list[Any] = [Row(drawn[:FIRST_CHARTS])] if drawn else []
    if drawn[FIRST_CHARTS:]:
        rest = len(drawn) - FIRST_CHARTS
        blocks.append(Fold(f"{rest} more curves", [Row(drawn[FIRST_CHARTS:])]))
    return blocks


def _settings(run: Run) -> list[Any]:
    """Settings that are not the defaults of their classes, then the others."""
    defaults = _defaults(run.settings)
    own = {k: v for k, v in run.settings.items() if k not in defaults or defaults[k] != v}
    rest = {k: v for k, v in run.settings.items() if k not in own}
    blocks: list[Any] = [Facts([(k, shown(v, 300)) for k, v in own.items()])]
    if rest:
        pairs = [(k, shown(v, 300)) for k, v in rest.items()]
        blocks.append(Fold(f"{len(rest)} settings at their defaults", [Facts(pairs)]))
    command = _command(run.facts.get("command"))
    return [*blocks, Code(command)] if command else blocks


def _defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults by key, as far as they are constants in the classes' sources."""
    named = {group: str(settings[group]) for group in PACKAGES if group in settings}
    found: dict[str, Any] = {}
    for group in dict.fromkeys(key.partition(".")[0] for key in settings):
        try:
            described = keys.describe(group, named)
        except (InputError, OSError, SyntaxError):
            continue
        for argument in (one for kind in described for one in kind.arguments):
            try:
                found[f"{group}.{argument.name}"] = ast.literal_eval(argument.default or "...")
            except (ValueError, SyntaxError):
                continue
    return {key: list(v) if isinstance(v, tuple) else v for key, v in found.items()}


def _history(facts: Mapping[str, Any]) -> list[Any]:
    """Starts of the run: first step, time, what was changed."""
    starts = [one for one in facts.get("history") or [] if isinstance(one, dict)]
    rows = []
    for number, one in enumerate(starts, 1):
        changes = one.get("changes")
        words = (
            [f"{k}: {_changed(v)}" for k, v in changes.items()] if isinstance(changes, dict) else []
        )
        when, step = (
            str(one.get("time", ""))[:19].replace("T", " "),
            runs.whole_number(one.get("step")),
        )
        rows.append(
            [
                Cell(str(number), number),
                Cell(when),
                Cell(f"{step:,}", step),
                Cell(", ".join(words) or "-"),
            ]
        )
    blocks: list[Any] = (
        [Table(["start", "time", "from step", "changed settings"], rows, wide=4)] if rows else []
    )
    for key, said in (("failed", "It failed"), ("stopped", "It was stopped")):
        if why := facts.get(key):
            blocks.append(Text(f"{said}: {shown(why, 400)}"))
    return blocks


def _changed(values: Any) -> str:
    """``3 -> 5`` of the value before and the value now."""
    if isinstance(values, list) and len(values) == 2:
        return " → ".join(shown(one, 80) for one in values)
    return shown(values, 80)


def _cost(run: Run) -> list[Any]:
    figures = run.figures
    pairs = []
    if seconds := figures.get("fit_seconds"):
        pairs.append(("training", f"{duration(seconds)}, validation included"))
    speeds = [
        value for _, value in run.curves.get("train/images_per_second", []) if math.isfinite(value)
    ]
    if speeds:
        pairs.append(("images a second", f"{median(speeds):,.0f} (median)"))
    found = runs.checkpoints(run.path)
    if found:
        size = sum(file.stat().st_size for file in found if file.exists())
        pairs.append(("checkpoints", f"{len(found)}, {size / 1e6:,.1f} MB"))
    return [Facts(pairs)] if pairs else []


def _origin(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions = facts.get("versions")
    pairs = [(k, str(v)) for k, v in versions.items()] if isinstance(versions, dict) else []
    git = facts.get("git")
    for name, one in git.items() if isinstance(git, dict) else ():
        if isinstance(one, dict):
            changed = ", with changes" if one.get("changed") else ""
            pairs.append((f"{name} in git", f"{one.get('revision', '')}{changed}"))
    for key in ("fingerprint", "host", "wandb_id", "slurm", "parents", "data"):
        if facts.get(key):
            pairs += [(name, shown(one, 200)) for name, one in flat({key: facts[key]}).items()]
    return pairs


def _command(words: Any) -> str:
    import shlex

    if not isinstance(words, list):
        return ""
    said = recipes.without_credentials([str(word) for word in words])
    return "genlab " + " ".join(shlex.quote(word) for word in said)


def _cell(value: float | None) -> Cell:
    return Cell("-") if value is None else Cell(shown_number(value), value)


def shown_number(value: float) -> str:
    """Five digits of a number, whole ones with commas."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.5g}"


def duration(seconds: float) -> str:
    """``1 h 02 min``, ``3 min 20 s`` or ``22.4 s``."""
    if seconds >= 3600:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"
    return (
        f"{seconds // 60:.0f} min {seconds % 60:02.0f} s" if seconds >= 60 else f"{seconds:.1f} s"
    )
