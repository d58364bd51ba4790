"""A study in words: its plan, what is missing, and a page of five lines and a table. No torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from genlab.experiments.arms.question import Question
from genlab.experiments.arms.results import SECONDS, Results, Values
from genlab.experiments.arms.verdicts import (
    NOT_RUN,
    Verdict,
    asked,
    diverged,
    narrowest,
    verdict,
    went,
)
from genlab.files import shown_path

KINDS = {
    "difference": "Student's t", "rate": "Newcombe's", "share": "jackknife over seeds",
    "correlation": "Fisher's z over arms, bootstrap over seeds",
}  # fmt: skip


def page(results: Results, out: Path | None = None) -> str:
    """The page in Markdown.

    Args:
        results: the study's.
        out: file of the page, next to which one of the same stem has every result.
    """
    question, values = results.question, results.values()
    found = verdict(question, values)
    parts = [
        f"# {question.head.title}",
        "\n".join(five_lines(question, values, found)),
        _table(question, values),
        _settings(results),
        _commands(question, out),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def five_lines(question: Question, values: Values, found: Verdict) -> list[str]:
    """Answer, estimate, prediction, cost and source; the first is the index's.

    Args:
        question: the study.
        values: metrics by arm and seed.
        found: its verdict.
    """
    decides, prediction = question.decides, question.prediction
    measured = [row for rows in values.values() for row in rows.values()]
    seconds = sum(row.get(SECONDS) or 0 for row in measured)
    cost = f"{len(measured)} runs, {seconds / 60:.1f} minutes of training"
    if not measured:
        cost = question.head.cost or "unknown"
    lines = [
        f"{question.question} **{found.answer.capitalize()}**, {went(question, found)}.",
        f"{sentence(question, found)} Margin {decides.margin:g}{_turned(question)}."
        + f" {_out_of_reach(question)}." * bool(_out_of_reach(question)),
        f"Predicted: {prediction.what} ({prediction.source}).",
        f"Cost: {cost}. {_diverged(question, values)}".rstrip(),
        f"The question comes from {', '.join(one.name for one in question.head.paper)}."
        if question.head.paper
        else "The question is genlab's own.",
    ]
    return [f"{line}\n" if line is lines[0] else f"- {line}" for line in lines]


def _turned(question: Question) -> str:
    """What a yes means, where it is not the usual."""
    return "; lower means yes" if question.decides.yes_if == "lower" else ""


def _out_of_reach(question: Question) -> str:
    """That no result can be equal within the margin, where the numbers of runs are too small."""
    least = narrowest(question)
    if least is None or least <= question.decides.margin:
        return ""
    return f"No result of so few runs is equal within it: intervals are ±{least:.2g} at best"


def sentence(question: Question, found: Verdict) -> str:
    """The estimate with interval, seeds, effect and correction."""
    decides, estimate = question.decides, found.estimate
    quantity = asked(question)
    if estimate is None:
        return f"`{quantity}`: {found.reason}."
    kind = "BCa bootstrap" if decides.interval == "bootstrap" else KINDS[decides.kind]
    effect = "" if estimate.effect is None else f", Hedges' g {estimate.effect:.2f}"
    corrected = f", corrected for {decides.comparisons} comparisons" * (decides.comparisons > 1)
    return (
        f"`{quantity}`: {estimate.value:+.3g}, {100 * decides.level:.4g} % interval "
        f"{estimate.low:+.3g} to {estimate.high:+.3g} ({kind}, {estimate.count} seeds{corrected})"
        f"{effect}."
    )


def _diverged(question: Question, values: Values) -> str:
    counts = {
        arm.name: sum(diverged(question, row) for row in values[arm.name].values())
        for arm in question.arms
    }
    said = ", ".join(f"{count} of {name}" for name, count in counts.items() if count)
    return f"Diverged: {said}." if said else ""


def _table(question: Question, values: Values) -> str:
    """Mean and standard deviation of every metric by arm; nothing before the first run."""
    if not any(values.values()):
        return ""
    head = ["arm", *question.reads, "runs"]
    lines = [head, ["---"] * len(head)]
    for arm in question.arms:
        rows = list(values[arm.name].values())
        shown = [spread_of(rows, metric) for metric in question.reads]
        lines.append([arm.name, *shown, str(len(rows))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread_of(rows: Iterable[Mapping[str, Any]], metric: str) -> str:
    """Mean and standard deviation of a metric over runs, as text."""
    found = [row[metric] for row in rows if row.get(metric) is not None]
    if not found:
        return "-"
    return f"{mean(found):.4g}" + (f" ± {stdev(found):.2g}" if len(found) > 1 else "")


def _settings(results: Results) -> str:
    lines = ["## Arms", ""]
    for name, settings in results.expansion.differing().items():
        own = [f"`{key}={value}`" for key, value in settings.items() if value != "-"]
        said = ", ".join(own) or "defaults of the others' settings"
        lines.append(f"- {name}, {results.expansion.steps(name) or 0:,} steps: {said}")
    return "\n".join(lines)


def _commands(question: Question, out: Path | None) -> str:
    name = shlex.quote(question.name)
    lines = ["## Commands", "", f"    genlab study run {name}", f"    genlab study page {name}"]
    if out is not None:
        path = shown_path(out)
        lines[-1] += f" --out {shlex.quote(out.name if Path(path).is_absolute() else path)}"
        data = out.with_suffix(".json").name
        lines += [
            "",
            f"Every result: [{data}]({data}); the last command alone makes this page of it.",
        ]
    return "\n".join(lines)


def plan(results: Results) -> str:
    """Question, prediction, decision, arms with what differs, and the runs that are missing."""
    question, expansion = results.question, results.expansion
    decides, prediction = question.decides, question.prediction
    margin = f"margin {decides.margin:g}{_turned(question)}, level {decides.level:.4g}"
    lines = [
        question.question,
        f"predicted  {prediction.expect}: {prediction.what} ({prediction.source})",
        f"decides    {asked(question)}; {margin}",
        f"reads      {', '.join(question.reads)}",
    ]
    if reason := _out_of_reach(question):
        lines.append(f"margin     {reason[0].lower()}{reason[1:]}")
    cells = results.cells
    for name, settings in expansion.differing().items():
        own = [cell for cell in cells if cell.arm == name]
        done = sum(not results.lacking(cell) for cell in own)
        failed = sum("failed" in results.metrics(cell) for cell in own)
        said = f"{done} of {len(question.seeds)} runs" + f", {failed} failed" * bool(failed)
        steps = expansion.steps(name)
        length = "no steps yet: study bench" if steps is None else f"{steps:,} steps"
        lines.append(f"arm        {name}: {length}, {said}")
        lines += [f"             {key}={value}" for key, value in settings.items()]
    if older := len(results.older()):
        said = f"{older} of {len(cells)} results next to the page are of other code or versions"
        lines.append(f"older      {said}")
    found = verdict(question, results.values())
    lines.append(f"verdict    {found.answer}" + f" ({found.reason})" * bool(found.reason))
    if found.answer != NOT_RUN:
        lines[-1] += f": {sentence(question, found)} {went(question, found)}"
    if question.head.cost and found.answer == NOT_RUN:
        lines.append(f"cost       {question.head.cost}")
    return "\n".join(lines)
