"""Columns of a table, and the layer and the column that validation data select by."""

from __future__ import annotations

from statistics import mean

from genlab.experiments.studies.cells import Cells
from genlab.experiments.studies.paired import values_of
from genlab.experiments.studies.rows import Row

INNER = " inner"  # ends the columns of the layer before the last stage


def columns(cells: Cells) -> list[str]:
    """The columns of results, by their keys without the split."""
    return ["knn", *(f"linear {name}" for name in cells.table.probe.labels), "rank"]


def layer(cells: Cells, row: Row) -> str:
    """Ending of the columns of the layer that validation data select: empty for the last."""
    if not cells.table.inner:
        return ""
    key = f"val/{selecting(cells)}"
    ends = {end: values_of(cells, row.key, key + end).values() for end in ("", INNER)}
    means = {end: mean(values) for end, values in ends.items() if values}
    return max(means, key=lambda end: means[end]) if means else ""


def selecting(cells: Cells) -> str:
    """The column by which validation data select."""
    search = cells.table.search or cells.searched.table.search
    return search.select if search else columns(cells)[-2]
