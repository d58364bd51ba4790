"""Charts as data: curves, parallel coordinates, intervals and points, which the script draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.experiments.reports.thinning import PIXELS, kept

WIDE = 30.0  # ratio of largest to smallest value from which an axis is logarithmic


@dataclass(frozen=True)
class Line:
    """A curve, perhaps with a band.

    Args:
        name: its name in the legend.
        steps: x, (N,).
        values: y, (N,).
        spread: half of the band's height, (N,); None for no band.
    """

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    spread: Sequence[float] | None = None


def curves(
    lines: Sequence[Line], y: str, x: str = "optimiser steps", pixels: int = PIXELS
) -> dict[str, Any]:
    """Curves over steps that can be zoomed and hovered.

    Args:
        lines: the curves.
        y: name of the vertical axis.
        x: name of the horizontal axis.
        pixels: number of columns of pixels of which each curve keeps the lowest and highest point.
    """
    shown = [value for line in lines for value in line.values if math.isfinite(value)]
    log = bool(shown and min(shown) > 0 and max(shown) > WIDE * min(shown))
    floor = min(shown) if log else -math.inf  # of bands: a logarithm knows no negative numbers
    series = []
    for line in lines:
        steps, values = (np.asarray(part, dtype=float) for part in (line.steps, line.values))
        order = kept(steps, values, pixels)
        steps, values = steps[order], values[order]
        one: dict[str, Any] = {
            "name": line.name,
            "x": numbers(steps),
            "y": numbers(values),
        }
        if line.spread is not None and any(line.spread):
            spread = np.asarray(line.spread, dtype=float)[order]
            one["low"] = numbers(np.maximum(values - spread, floor))
            one["high"] = numbers(values + spread)
        series.append(one)
    return {"kind": "curves", "series": series, "x": x, "y": y, "log": log}


def parallel(
    columns: Mapping[str, Sequence[Any]], colour: str, names: Sequence[str]
) -> dict[str, Any]:
    """Parallel coordinates: an axis a column, a line a row, coloured by one of them.

    Args:
        columns: numbers or texts of each row by the column's name.
        colour: the column of numbers that says the colour.
        names: names of the rows.
    """
    axes = []
    for name, values in columns.items():
        if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
            positive = [one for one in values if one > 0]
            log = len(positive) == len(values) and max(values) > WIDE * min(values)
            axes.append({"name": name, "values": numbers(values), "log": log})
        else:
            axes.append({"name": name, "values": [str(one) for one in values], "words": True})
    return {
        "kind": "parallel",
        "axes": axes,
        "colour": list(columns).index(colour),
        "names": list(names),
    }


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, and the values that it is made of."""

    name: str
    middle: float
    low: float
    high: float
    values: Sequence[float] = ()


def intervals(rows: Sequence[Interval], x: str, margin: float | None = None) -> dict[str, Any]:
    """Estimates below each other with their intervals.

    Args:
        rows: the estimates, from top to bottom.
        x: name of the axis.
        margin: half of the width of a band around zero; None for no band and no line at zero.
    """
    return {
        "kind": "intervals", "x": x, "margin": margin,
        "rows": [
            {"name": row.name, "middle": number(row.middle), "low": number(row.low),
             "high": number(row.high), "values": numbers(row.values)}
            for row in rows
        ],
    }  # fmt: skip


def points(groups: Mapping[str, Sequence[tuple[float, float]]], x: str, y: str) -> dict[str, Any]:
    """Points in the plane, a colour each group."""
    return {
        "kind": "points", "x": x, "y": y,
        "groups": [
            {"name": name, "points": [numbers(pair) for pair in pairs]}
            for name, pairs in groups.items()
        ],
    }  # fmt: skip


def number(value: float) -> float | None:
    """Six digits of a number for JSON; None, a gap, for one that is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def numbers(values: Sequence[float] | NDArray[Any]) -> list[float | None]:
    """Numbers for JSON."""
    return [number(float(value)) for value in values]
