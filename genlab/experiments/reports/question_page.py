"""The page of a study of one question: verdict, deciding plot, arms, images, commands."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from statistics import mean
from typing import Any

from genlab.errors import InputError
from genlab.experiments import study_files
from genlab.experiments.arms import intervals
from genlab.experiments.arms.results import SECONDS, Results, Values
from genlab.experiments.arms.summary import sentence, spread_of
from genlab.experiments.arms.verdicts import NOT_RUN, Verdict, asked, pairs, verdict, went
from genlab.experiments.reports import charts
from genlab.experiments.reports.blocks import (
    Cards,
    Cell,
    Chart,
    Code,
    Facts,
    Report,
    Row,
    Section,
    Table,
    Text,
)
from genlab.experiments.reports.charts import Interval
from genlab.experiments.reports.sweep_page import last_images
from genlab.files import shown_path


def page(results: Results) -> Report:
    """The page of a study.

    Args:
        results: the study's.
    """
    question, values = results.question, results.values()
    found = verdict(question, values)
    prediction = question.prediction
    expected = Facts([
        ("predicted", f"{prediction.expect}: {prediction.what}"),
        ("source of the prediction", prediction.source),
        ("question from", ", ".join(one.name for one in question.head.paper) or "genlab"),
        ("decides", f"{asked(question)}, margin {question.decides.margin:g}"),
        ("seeds", ", ".join(map(str, question.seeds))),
    ])  # fmt: skip
    said = [
        Text(sentence(question, found).replace("`", "")),
        Text(f"{went(question, found).capitalize()}."),
    ]
    if found.answer == NOT_RUN:
        said = [Text(f"Not run yet: {found.reason}. Cost: {question.head.cost or 'unknown'}.")]
    return Report(
        question.head.title, question.question, mark=found.answer,
        sections=[
            Section("Answer", [*_cards(found), *said, expected]),
            Section("Deciding plot", _deciding(results, values, found)),
            Section("Metrics by arm", [*_table(results, values), *_intervals(results, values)]),
            Section("Arms", [_arms(results)]),
            Section("Images by arm", last_images(_folders(results, values))),
            Section("Commands", [Code(_commands(results))]),
        ],
    )  # fmt: skip


def _cards(found: Verdict) -> list[Any]:
    if (one := found.estimate) is None:
        return []
    items = [("estimate", f"{one.value:+.3g}", f"{one.low:+.3g} to {one.high:+.3g}")]
    if one.effect is not None:
        items.append(("effect", f"{one.effect:.2f}", "Hedges' g of paired differences"))
    return [Cards([("verdict", found.answer, ""), *items])]


def _deciding(results: Results, values: Values, found: Verdict) -> list[Any]:
    """The estimate with its interval and the margin; of a correlation the points too."""
    question, decides = results.question, results.question.decides
    if found.estimate is None:
        return []
    one, seeds = found.estimate, question.seeds
    arms = decides.arms or [arm.name for arm in question.arms]
    rows = {arm: [values[arm][seed] for seed in seeds] for arm in arms}
    each = pairs(decides, rows) if decides.kind == "difference" else []
    row = Interval("estimate", one.value, one.low, one.high, each)
    text = f"Band: the margin of {decides.margin:g}. Bar: the {100 * decides.level:.4g} % interval."
    text += " Small points: seeds." if each else ""
    drawn = [
        Chart("estimate and margin", charts.intervals([row], asked(question), decides.margin), text)
    ]
    if decides.kind == "correlation":
        x, y = decides.figures
        groups = {
            arm: [(float(one[x]), float(one[y])) for one in rows[arm] if _both(one, x, y)]
            for arm in arms
        }
        drawn.append(Chart(f"{y} against {x}", charts.points(groups, x, y), "A point a run."))
    return drawn


def _both(row: Mapping[str, Any], x: str, y: str) -> bool:
    return row.get(x) is not None and row.get(y) is not None


def _table(results: Results, values: Values) -> list[Any]:
    """Mean and standard deviation of every metric by arm."""
    if not any(values.values()):
        return []
    lines = []
    for arm in results.question.arms:
        rows = list(values[arm.name].values())
        cells = [Cell(spread_of(rows, one), _mean(rows, one)) for one in results.question.reads]
        lines.append([Cell(arm.name), *cells, Cell(str(len(rows)), len(rows))])
    caption = "Mean ± standard deviation over seeds (n - 1)."
    return [Table(["arm", *results.question.reads, "runs"], lines, 1, caption)]


def _intervals(results: Results, values: Values) -> list[Any]:
    """A chart for each metric: mean of every arm with its 95 % interval by Student's t."""
    drawn = []
    for metric in (one for one in results.question.reads if one != SECONDS):
        rows = []
        for arm in results.question.arms:
            found = _numbers(list(values[arm.name].values()), metric)
            if found:
                half = intervals.half_width(found, 0.95) if found[1:] else 0.0
                middle = mean(found)
                rows.append(Interval(arm.name, middle, middle - half, middle + half, found))
        if rows:
            text = "Bar: 95 % interval of the mean by Student's t. Small points: seeds."
            drawn.append(Chart(metric, charts.intervals(rows, metric), text))
    return [Row(drawn)] if drawn else []


def _numbers(rows: list[dict[str, Any]], metric: str) -> list[float]:
    found = [float(row[metric]) for row in rows if row.get(metric) is not None]
    return [one for one in found if math.isfinite(one)]


def _mean(rows: list[dict[str, Any]], metric: str) -> float | None:
    found = _numbers(rows, metric)
    return mean(found) if found else None


def _arms(results: Results) -> Table:
    """What differs between the arms."""
    lines = []
    for name, settings in results.expansion.differing().items():
        own = ", ".join(f"{key}={value}" for key, value in settings.items() if value != "-")
        steps = results.expansion.steps(name) or 0
        lines.append([Cell(name), Cell(own or "defaults"), Cell(f"{steps:,}", steps)])
    return Table(["arm", "settings", "steps"], lines, 2)


def _folders(results: Results, values: Values) -> dict[str, Any]:
    """The run of each arm's first seed, where its directory is here."""
    found = {}
    for cell in results.cells:
        if cell.seed != results.question.seeds[0] or not values[cell.arm]:
            continue
        try:
            run = cell.trial(results.root).run
        except InputError:
            continue
        if (run / "pictures").is_dir():
            found[cell.arm] = run
    return found


def _commands(results: Results) -> str:
    question = results.question
    shipped = question.name in study_files.shipped(True)
    name = shlex.quote(question.name if shipped else shown_path(question.file))
    return f"genlab study show {name}\ngenlab study run {name}\ngenlab report {name}"
