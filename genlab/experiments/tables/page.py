"""A published table as a page in Markdown. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from genlab.experiments.markdown import NOTHING, grid, spread
from genlab.experiments.tables.cells import TableCells
from genlab.experiments.tables.table import Column, Published


def page(cells: TableCells, out: Path | None = None) -> str:
    """The whole page.

    Args:
        cells: the table's cells.
        out: file of the page, next to which one of the same stem has every result.
    """
    table, results = cells.table, ""
    if out is not None:
        name = out.with_suffix(".json").name
        results = f"Every result of every seed: [{name}]({name})."
    notes = [f"- {key}: {row.notes}" for key, row in cells.rows.items() if row.notes]
    parts = [
        f"# {table.head.title}",
        _how(cells),
        grid(_header(cells), (_line(cells, key) for key in cells.rows)),
        "\n".join(notes),
        *_limits(cells),
        *_published(cells),
        *_missing(cells),
        *_other_code(cells),
        _command(cells, out),
        results,
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def values_of(cells: TableCells, key: str, name: str) -> list[float]:
    """A row's column for each seed that is measured."""
    found = [cells.figures(cell).get(name) for cell in cells.runs(key)]
    return [float(value) for value in found if isinstance(value, float | int)]


def missing(cells: TableCells) -> dict[str, str]:
    """Rows without all their results, and why."""
    found: dict[str, str] = {}
    for key in cells.rows:
        runs = cells.runs(key)
        failed = [why for cell in runs if (why := cells.failure(cell))]
        left = sum(not cells.ended(cell) for cell in runs)
        if failed:
            found[key] = f"{len(failed)} of {len(runs)} runs failed: {failed[0]}"
        elif left:
            found[key] = f"{left} of {len(runs)} runs to do"
    return found


def other_code(cells: TableCells) -> dict[str, str]:
    """Rows whose results were trained by other code than this, and how many of their runs."""
    found: dict[str, str] = {}
    for key in cells.rows:
        runs = cells.runs(key)
        if count := sum(cells.is_of_other_code(cell) for cell in runs):
            found[key] = f"{count} of {len(runs)} runs"
    return found


def _how(cells: TableCells) -> str:
    table, lacking = cells.table, missing(cells)
    counts = sorted({len(cells.runs(key)) for key in cells.rows})
    said = " or ".join(map(str, counts)) + (" seeds" if counts[-1] > 1 else " seed")
    text = "One seed" if counts == [1] else f"Mean and standard deviation of {said}"
    if table.vary:
        text += f", which are also those of {', '.join(f'`{key}`' for key in table.vary)}"
    if table.minutes is not None:
        text += f". Each row has the steps of {table.minutes:g} CPU minutes of one core, together"
        text += " with the runs that it starts from"
    text += ". Seconds are those of the clock in training, with the runs that a row starts from"
    text += (
        f"; features of samples are those of `{table.judge}`, for all rows." if table.judge else "."
    )
    if table.head.aims:
        text += f" Aim: {table.head.aims}."
    if lacking:
        text += f" Of {len(cells.rows)} rows {len(lacking)} are missing or not complete: see "
        text += "Missing."
    return text


def _heading(name: str, column: Column) -> str:
    return f"{name} ({column.unit})" if column.unit else name


def _header(cells: TableCells) -> list[str]:
    named = [_heading(name, column) for name, column in cells.table.columns.items()]
    return ["row", "recipe", *named, "seconds", "runs"]


def _line(cells: TableCells, key: str) -> list[str]:
    columns = [
        spread(values_of(cells, key, name), column.digits)
        for name, column in cells.table.columns.items()
    ]
    done = [cell for cell in cells.runs(key) if cells.ended(cell) and not cells.failure(cell)]
    seconds = [value for cell in done if (value := cells.seconds(cell)) is not None]
    row = cells.rows[key]
    recipe = " ".join([row.recipe, *row.settings, *cells.table.length(key)[1:]])
    return [key, f"`{recipe}`", *columns, spread(seconds, 0), str(len(done))]


def _limits(cells: TableCells) -> Iterable[str]:
    lines = []
    for key, row in cells.rows.items():
        for name, limit in row.limits.items():
            column, values = cells.table.columns[name], values_of(cells, key, name)
            words = "at most" if column.better == "lower" else "at least"
            said = NOTHING
            if values:
                under = mean(values) <= limit
                equal = mean(values) == limit
                said = "yes" if equal or under == (column.better == "lower") else "no"
            lines.append([key, _heading(name, column), f"{words} {limit:g}", said])
    if lines:
        yield "## Limits"
        yield grid(["row", "column", "limit", "reached"], lines)


def _published(cells: TableCells) -> Iterable[str]:
    if not cells.table.published:
        return
    named = cells.table.columns
    header = ["method", *(_heading(name, one) for name, one in named.items()), "source", "remark"]
    yield "## Published\n\nResults of the papers, not measured here."
    yield grid(header, (_paper(one, named) for one in cells.table.published))


def _paper(one: Published, columns: Iterable[str]) -> list[str]:
    texts = []
    for name in columns:
        value = one.values.get(name)
        more = f" ± {one.spread[name]:g}" if name in one.spread else ""
        texts.append(NOTHING if value is None else f"{value:g}{more}")
    return [one.name, *texts, one.source, one.notes]


def _missing(cells: TableCells) -> Iterable[str]:
    if found := missing(cells):
        yield "## Missing\n\n" + "\n".join(f"- {key}: {why}" for key, why in found.items())


def _other_code(cells: TableCells) -> Iterable[str]:
    if found := other_code(cells):
        yield (
            "## Other code\n\nThese were trained, or start from runs that were trained, by other"
            " code or versions of torch and timm than those that wrote this page:"
        )
        yield "\n".join(f"- {key}: {count}" for key, count in found.items())


def _command(cells: TableCells, out: Path | None) -> str:
    words = [cells.table.name, *cells.given]
    line = "genlab reproduce " + " ".join(shlex.quote(word) for word in words)
    return f"## Command\n\n    {line}" + ("" if out is None else f" --out {out.name}")
