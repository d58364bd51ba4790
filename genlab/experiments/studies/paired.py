"""Differences to another library's runs, paired by row and seed. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

from genlab.experiments.studies.cells import Cells


@dataclass(frozen=True)
class Difference:
    """genlab minus another library, in the column's unit.

    Args:
        library: name of the other library.
        column: column that is compared.
        by_row: mean difference of each row.
        mean: mean over all pairs.
        low: lower end of the 95 % interval of ``mean``; None of a single pair.
        high: its upper end.
        pairs: number of pairs.
    """

    library: str
    column: str
    by_row: dict[str, float]
    mean: float
    low: float | None
    high: float | None
    pairs: int


def differences(cells: Cells, library: str, column: str) -> Difference | None:
    """Differences over the pairs of which both runs are measured; None where there are none."""
    found = {row.key: values_of(cells, row.key, column) for row in cells.rows}
    by_row: dict[str, list[float]] = {}
    for key, theirs in found.items():
        if key.startswith(f"{library}/"):
            ours = found.get(key.removeprefix(f"{library}/"), {})
            shared = [ours[seed] - theirs[seed] for seed in theirs if seed in ours]
            by_row |= {key.partition("/")[2]: shared} if shared else {}
    return summed_up(library, column, by_row)


def values_of(cells: Cells, key: str, column: str) -> dict[int, float]:
    """A row's measured values by seed."""
    row = next(one for one in cells.rows if one.key == key)
    known = {cell.seed: cells.figures(cell).get(column) for cell in cells.seeds(row)}
    return {seed: value for seed, value in known.items() if isinstance(value, float | int)}


def summed_up(library: str, column: str, by_row: dict[str, list[float]]) -> Difference | None:
    """Mean of all pairs with the interval of Student's t.

    Pairs count as independent: each has its own seed, its own order of images and its own views.
    """
    pairs = [one for row in by_row.values() for one in row]
    if not pairs:
        return None
    low = high = None
    if len(pairs) > 1:
        from scipy.stats import t

        half = float(t.ppf(0.975, len(pairs) - 1)) * stdev(pairs) / sqrt(len(pairs))
        low, high = mean(pairs) - half, mean(pairs) + half
    means = {key: mean(row) for key, row in by_row.items()}
    return Difference(library, column, means, mean(pairs), low, high, len(pairs))
