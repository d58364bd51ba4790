"""Margins of rows over raw pixels and over their encoder as it is drawn. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, stdev

from genlab.experiments.studies.cells import Cells
from genlab.experiments.studies.columns import layer, selecting
from genlab.experiments.studies.paired import values_of
from genlab.experiments.studies.rows import Row


@dataclass(frozen=True)
class Margin:
    """A row against what needs no training, by the column that selects, of test images.

    Args:
        row: key of the row.
        untrained: points above the same encoder untrained.
        deviations: the same in standard deviations of the untrained encoder over seeds.
        raw: points above raw pixels.
    """

    row: str
    untrained: float | None
    deviations: float | None
    raw: float | None


def margins(cells: Cells) -> list[Margin]:
    """Margins of every trained row that is measured."""
    untrained = [row for row in cells.rows if row.kind == "untrained"]
    pixels = [value for row in cells.rows if row.kind == "raw" for value in _points(cells, row)]
    found = []
    for row in cells.rows:
        values = _points(cells, row) if row.trained and not row.lacking else []
        if not values:
            continue
        same = next((one for one in untrained if _encoder(one) == _encoder(row)), None)
        drawn = _points(cells, same) if same else []
        above = mean(values) - mean(drawn) if drawn else None
        spread = stdev(drawn) if len(drawn) > 1 else 0.0
        multiple = above / spread if above is not None and spread else None
        raw = mean(values) - mean(pixels) if pixels else None
        found.append(Margin(row.key, above, multiple, raw))
    return found


def _points(cells: Cells, row: Row) -> list[float]:
    key = f"test/{selecting(cells)}{layer(cells, row)}"
    return [100 * value for value in values_of(cells, row.key, key).values()]


def _encoder(row: Row) -> tuple[str, ...]:
    return tuple(repr(row.value(f"model.{key}")) for key in ("encoder", "encoder_kwargs"))
