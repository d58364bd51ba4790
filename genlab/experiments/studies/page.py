"""A table as a page in Markdown: results, missing cells, selected settings. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from genlab.experiments.markdown import NOTHING, grid, spread
from genlab.experiments.studies.cells import Cells
from genlab.experiments.studies.columns import columns, layer, selecting
from genlab.experiments.studies.effort import counted, length
from genlab.experiments.studies.margins import margins
from genlab.experiments.studies.paired import Difference, differences, values_of
from genlab.experiments.studies.rows import Row
from genlab.files import shown_path


def result(cells: Cells, row: Row, column: str) -> str:
    """``93.1 ± 0.4``, in percent but for the rank; ``-`` where nothing is measured."""
    factor = 1.0 if column.startswith("rank") else 100.0
    found = values_of(cells, row.key, f"test/{column}{layer(cells, row)}")
    return spread([factor * value for value in found.values()])


def page(cells: Cells, out: Path | None = None) -> str:
    """The whole page.

    Args:
        cells: the table's cells.
        out: file of the page, next to which one of the same stem has every result.
    """
    table, seeds = cells.table, counted(len(cells.table.seeds), "seed")
    results = out.with_suffix(".json").name if out is not None else ""
    parts = [
        f"# {table.head.title}",
        f"Every self-supervised method of genlab with one encoder and {length(table)} a run, mean "
        f"and standard deviation of {seeds}.{_lacking(cells)}",
        how(cells),
        grid(header(cells), (line for row in cells.rows if (line := line_of(cells, row)))),
        *_margin_parts(cells),
        *_task_parts(cells),
        *_peer_parts(cells),
        *_settings_parts(cells),
        *_missing_parts(cells),
        _command(cells, out),
        f"Every result of every trial and seed: [{results}]({results})." if results else "",
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _lacking(cells: Cells) -> str:
    """Number of rows without all their results, for the first paragraph."""
    number, every = len(missing(cells)), len(cells.rows)
    return f" Of {every} rows {number} are missing or not complete: see Missing." if number else ""


def _command(cells: Cells, out: Path | None) -> str:
    """Commands that make this page from nothing."""
    table, lines = cells.table, []
    run = table.head.run
    if any(row.kind == "peer" and not row.lacking for row in cells.rows):
        lines, run = [f"pip install {library}" for library in table.peers], f"PYTHONPATH=. {run}"
    name = shlex.quote(table.name)
    written = f" --out {shlex.quote(shown(out))}" if out is not None else ""
    lines += [run, f"genlab study page {name}{written}"]
    commands = "\n".join(f"    {line}" for line in lines)
    again = "" if out is None else (
        "\n\nThe last one alone makes this page of the results that stand next to it; "
        "`--known none` leaves them out, here and of `run`."
    )  # fmt: skip
    return f"## Command\n\n{commands}{again}"


def shown(out: Path) -> str:
    """A page's path in its command: nothing of where this checkout lies."""
    found = shown_path(out)
    return out.name if Path(found).is_absolute() else found


def how(cells: Cells) -> str:
    """Measurement of the results, in sentences."""
    table, probe = cells.table, cells.table.probe
    trials = max((len(row.trials) for row in cells.searched.rows), default=0)
    origin = "Settings are those of the recipes. "
    if trials:
        origin = f"Settings come from {trials} trials of each row, selected by "
        origin += f"`{selecting(cells)}` of validation images"
        other = cells.searched.table.name
        origin += f" in {other}. " if cells.table.settings_of else ". "
    text = origin + (
        "A number of steps ends a run; the seconds are those of the clock, "
        "whatever else the machine did. "
        f"Results are of the test images, in %: kNN with {probe.k} neighbours, and a softmax "
        f"regression on standardised features with a penalty of {probe.strength:g} per image. "
        f"A part of the labels is drawn {probe.draws} times. `rank` is the effective rank: a "
        "collapse shows in it; it does not say which of two methods is better."
    )
    if table.inner:
        text += " Pretext tasks and untrained encoders have the better of two layers, selected on "
        text += "validation images."
    return text


def header(cells: Cells) -> list[str]:
    """Headings of the table."""
    return ["row", *columns(cells), "steps", "seconds", "runs"]


def line_of(cells: Cells, row: Row) -> list[str]:
    """A row's results; nothing where there are none yet."""
    done = [found for cell in cells.seeds(row) if "failed" not in (found := cells.figures(cell))]
    done = [found for found in done if found]
    if not done:
        return []
    seconds = [found["seconds"] for found in done if found.get("seconds")]
    steps = cells.steps(row) if row.trained else 0
    name = row.key + (f" ({cells.table.notes[row.key]})" if row.key in cells.table.notes else "")
    name += ", inner layer" if layer(cells, row) else ""
    results = [result(cells, row, column) for column in columns(cells)]
    return [name, *results, f"{steps or 0:,}", spread(seconds), str(len(done))]


def _margin_parts(cells: Cells) -> Iterable[str]:
    """Rows against the same encoder untrained, and against raw pixels."""
    if found := margins(cells):
        yield (
            "## Above what needs no training\n\n"
            f"Points of `{selecting(cells)}` above the same encoder untrained, in multiples of its "
            "standard deviation over seeds, and above raw pixels."
        )
        shown = [
            [one.row, *map(_signed, (one.untrained, one.deviations, one.raw))] for one in found
        ]
        yield grid(["row", "untrained", "deviations", "raw pixels"], shown)


def _signed(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.1f}"


def _task_parts(cells: Cells) -> Iterable[str]:
    """How well pretext tasks are solved, next to what their shortcuts reach."""
    lines = []
    for row in cells.rows:
        found = [cells.figures(cell) for cell in cells.seeds(row)]
        keys = dict.fromkeys(key for one in found for key in one if key.startswith("task val/"))
        for key in keys:
            values = [one[key] for one in found if isinstance(one.get(key), float)]
            alone = cells.table.baselines.get(row.key) if key.endswith("accuracy") else None
            said = NOTHING if alone is None else f"{alone:g}"
            shown = f"{mean(values):.4g}" if values else NOTHING
            lines.append([row.key, key.removeprefix("task val/"), shown, said])
    if lines:
        yield (
            "## Tasks\n\nOf validation images; the last column is the accuracy that a shortcut "
            "alone reaches, in %."
        )
        yield grid(["row", "metric", "mean", "shortcut"], lines)


def _peer_parts(cells: Cells) -> Iterable[str]:
    for library in cells.table.peers:
        found = [differences(cells, library, f"test/{one}") for one in columns(cells)[:-1]]
        lines = [_difference(one) for one in found if one]
        if lines:
            yield (
                f"## Compared with {library}\n\nThe same encoder, initial weights, views, steps "
                f"and search. genlab minus {library} in points, over all pairs of a row and a seed."
            )
            yield grid(["column", "mean", "95 % interval", "pairs", "by row"], lines)


def _difference(one: Difference) -> list[str]:
    interval = NOTHING
    if one.low is not None and one.high is not None:
        interval = f"{100 * one.low:+.2f} to {100 * one.high:+.2f}"
    rows = ", ".join(f"{key} {100 * value:+.2f}" for key, value in one.by_row.items())
    column = one.column.removeprefix("test/")
    return [column, f"{100 * one.mean:+.2f}", interval, str(one.pairs), rows]


def _settings_parts(cells: Cells) -> Iterable[str]:
    lines = []
    for row in cells.rows:
        chosen = cells.selected(row) if row.trained and not row.lacking else None
        if chosen:
            lines.append([row.key, ", ".join(f"`{word}`" for word in chosen)])
    if lines:
        yield "## Selected settings"
        yield grid(["row", "settings"], lines)


def _missing_parts(cells: Cells) -> Iterable[str]:
    if found := missing(cells):
        yield "## Missing\n\n" + "\n".join(f"- {key}: {why}" for key, why in found.items())


def missing(cells: Cells) -> dict[str, str]:
    """Rows without all their results, and why."""
    found: dict[str, str] = {}
    for row in cells.rows:
        trials, seeds = cells.searches(row), cells.seeds(row)
        waiting = [cell for cell in (*trials, *seeds) if not cells.ended(cell)]
        failed = [why for cell in seeds if (why := cells.figures(cell).get("failed"))]
        if row.lacking or (row.absent and waiting):
            found[row.key] = row.lacking or row.absent
        elif row.trained and cells.steps(row) is None:
            found[row.key] = "its steps are not measured: genlab study bench"
        elif waiting:
            trial = sum(one.searched for one in waiting)
            count = len(waiting) - trial if seeds else len(cells.table.seeds)
            kinds = [counted(trial, "trial")] * bool(trial) + [counted(count, "run")]
            found[row.key] = f"{' and '.join(kinds)} to do"
        elif failed:
            found[row.key] = f"{len(failed)} runs failed: {failed[0]}"
        elif not seeds:
            other = cells.searched.table.name
            found[row.key] = f"no settings are selected: see the search of {other}"
    return found
