"""The page of several runs: a table, what the settings do, curves with bands, images of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genlab.experiments import comparison
from genlab.experiments.comparison import Group, Run
from genlab.experiments.curves import MOST, band
from genlab.experiments.reports import charts, images
from genlab.experiments.reports.blocks import (
    Cell,
    Chart,
    Fold,
    Frame,
    Images,
    Report,
    Row,
    Section,
    Table,
)
from genlab.experiments.reports.charts import Line
from genlab.experiments.reports.thinning import resolution
from genlab.experiments.usual import usual_curves, usual_metrics
from genlab.runs.settings import shown

BUDGET = 1_200_000  # bytes of images
FEWEST = 3  # groups whose settings are drawn


def page(title: str, found: Sequence[Run], metrics: Sequence[str] = ()) -> Report:
    """The page of runs.

    Args:
        title: name of the sweep or the runs.
        found: the runs; their files can be read.
        metrics: metrics of the table; by default those that `genlab compare` shows.
    """
    selected, mode = found[0].monitor
    groups, twice = comparison.grouped(found)
    columns = list(metrics) or usual_metrics(found, selected)
    first = columns[0] if columns else selected
    groups = comparison.ranked(groups, first, mode)
    recipes = ", ".join(dict.fromkeys(run.recipe for run in found))
    lead = f"{len(found)} runs of {recipes}, {len(groups)} settings"
    if twice:
        lead += f"; {len(twice)} not counted, the same seed and settings again"
    return Report(title, lead, [
        Section("Table", [table(groups, columns)]),
        Section("Settings", settings(groups, first)),
        Section("Curves", curves(groups, usual_curves(found, selected, list(metrics)))),
        Section("Images", pictures(groups)),
        Section("Runs", [Fold(f"{len(found)} runs", [_runs(found)])]),
    ])  # fmt: skip


def table(groups: Sequence[Group], columns: Sequence[str]) -> Table:
    """A row for each group: settings, number of runs, means and standard deviations."""
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    rows = []
    for group in groups:
        own = [group.settings.get(key, comparison.MISSING) for key in keys]
        cells = [Cell(shown(one, 80), one if _is_number(one) else None) for one in own]
        cells.append(Cell(str(len(group.counted)), len(group.counted)))
        for column in columns:
            one = group.summary(column)
            spread = f" ± {one['sd']:.2g}" if one["sd"] is not None else ""
            said = "-" if one["mean"] is None else f"{one['mean']:.4g}{spread}"
            said += f" ({one['not_finite']} not finite)" if one["not_finite"] else ""
            cells.append(Cell(said, one["mean"]))
        rows.append([*cells, Cell(group.label)])
    caption = "Mean ± standard deviation over runs (n - 1); best/... is at the selected checkpoint."
    return Table([*keys, "runs", *columns, "run"], rows, len(keys), caption)


def settings(groups: Sequence[Group], metric: str) -> list[Any]:
    """Parallel coordinates of the settings and the metric, where there are enough groups."""
    means = [(group, group.summary(metric)["mean"]) for group in groups]
    known = [(group, value) for group, value in means if value is not None]
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    if len(known) < FEWEST or not keys:
        return []
    columns: dict[str, list[Any]] = {}
    for key in keys:
        values = [group.settings.get(key, comparison.MISSING) for group, _ in known]
        numbers = all(_is_number(one) for one in values)
        columns[key] = values if numbers else [shown(one, 24) for one in values]
    columns[metric] = [value for _, value in known]
    names = [group.name for group, _ in known]
    said = "A line for each setting; drag along an axis to select lines by its values."
    return [Chart(metric, charts.parallel(columns, metric, names), said)]


def curves(groups: Sequence[Group], metrics: Sequence[str]) -> list[Any]:
    """A chart a metric, a line a group with a band over its seeds."""
    drawn, pixels = [], resolution(len(metrics) * len(groups[:MOST]), 4)
    for metric in metrics:
        lines = []
        for group in groups[:MOST]:
            if (one := band(group.counted, metric)) is not None:
                steps, middle, spread = (part.tolist() for part in one)
                many = f" ({len(group.counted)} seeds)" if group.counted[1:] else ""
                lines.append(Line(group.name + many, steps, middle, spread))
        if lines:
            drawn.append(Chart(metric, charts.curves(lines, metric, pixels=pixels)))
    return [Row(drawn)] if drawn else []


def pictures(groups: Sequence[Group]) -> list[Images]:
    """The last image of each kind of every group's first run, behind a slider over groups."""
    return last_images({group.name: group.counted[0].path for group in groups[:MOST]})


def last_images(folders: dict[str, Path]) -> list[Images]:
    """The last image of each kind of several runs, by the runs' names.

    Args:
        folders: run directories by the names that stand below their images.
    """
    kinds: dict[str, list[tuple[str, Path]]] = {}
    for name, folder in folders.items():
        for kind, files in images.by_kind(folder / "pictures").items():
            label, file = list(files.items())[-1]
            kinds.setdefault(kind, []).append((f"{name}, {label}" if label else name, file))
    left, found = BUDGET, []
    for kind, files_of in kinds.items():
        frames: list[Frame] = []
        for label, file in files_of:
            if (one := images.frame(file, label)) and len(one.source) <= left:
                frames.append(one)
                left -= len(one.source)
        if frames:
            found.append(Images(kind.replace("_", " "), frames, images.meaning(file), start=0))
    return found


def _runs(found: Sequence[Run]) -> Table:
    rows = [
        [Cell(run.path.name), Cell(run.recipe), Cell(run.state), Cell(str(run.seed), run.seed),
         Cell(f"{run.step:,}", run.step)]
        for run in found
    ]  # fmt: skip
    return Table(["run", "recipe", "state", "seed", "step"], rows, 3)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
