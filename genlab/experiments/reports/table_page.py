"""The page of a study of many methods: the table that sorts, and each column as a plot."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

from genlab.experiments.reports import charts
from genlab.experiments.reports.blocks import Cell, Chart, Code, Report, Row, Section, Table, Text
from genlab.experiments.reports.charts import Interval
from genlab.experiments.reports.sweep_page import last_images
from genlab.experiments.studies.cells import Cells
from genlab.experiments.studies.columns import columns, layer
from genlab.experiments.studies.page import header, how, line_of, missing
from genlab.experiments.studies.paired import values_of


def page(cells: Cells) -> Report:
    """The page of a table.

    Args:
        cells: the table's cells.
    """
    table, lacking = cells.table, missing(cells)
    whole = f"{len(cells.rows) - len(lacking)} of {len(cells.rows)} rows are complete"
    return Report(
        table.head.title, f"{table.head.aims + '; ' if table.head.aims else ''}{whole}",
        [
            Section("Table", [*_table(cells), Text(how(cells).replace("`", ""))]),
            Section("Plots", _plots(cells)),
            Section("Images", last_images(_folders(cells))),
            Section("Missing", _missing(lacking)),
            Section("Commands", [Code(f"{table.head.run}\ngenlab report {table.name}")]),
        ],
    )  # fmt: skip


def _table(cells: Cells) -> list[Table]:
    lines = []
    for row in cells.rows:
        if line := line_of(cells, row):
            lines.append([Cell(line[0]), *(Cell(text, _number(text)) for text in line[1:])])
    return [Table(header(cells), lines)] if lines else []


def _plots(cells: Cells) -> list[Any]:
    """Each column: mean and standard deviation of every row, the highest first."""
    drawn = []
    for column in columns(cells):
        factor = 1.0 if column.startswith("rank") else 100.0
        rows = []
        for row in cells.rows:
            key = f"test/{column}{layer(cells, row)}"
            found = [factor * value for value in values_of(cells, row.key, key).values()]
            if found:
                middle, half = mean(found), stdev(found) if found[1:] else 0.0
                rows.append(Interval(row.key, middle, middle - half, middle + half, found))
        rows.sort(key=lambda one: -one.middle)
        if rows:
            text = "Bar: mean ± standard deviation over seeds. Small points: seeds."
            unit = column if column.startswith("rank") else f"{column} (%)"
            drawn.append(Chart(column, charts.intervals(rows, unit), text))
    return [Row(drawn)] if drawn else []


def _missing(lacking: dict[str, str]) -> list[Table]:
    rows = [[Cell(row), Cell(why)] for row, why in lacking.items()]
    return [Table(["row", "what is missing"], rows, 2)] if rows else []


def _folders(cells: Cells) -> dict[str, Path]:
    """The run of each row's first seed that is here and has images."""
    found = {}
    for row in cells.rows:
        for cell in cells.seeds(row):
            run = cells.trial(cell).run if cell.trained else None
            if run is not None and any((run / "pictures").glob("*")):
                found[row.key] = run
                break
    return found


def _number(text: str) -> float | None:
    """The first number of a cell; None where it has none."""
    try:
        return float(text.split(" ")[0].replace(",", ""))
    except (ValueError, IndexError):
        return None
