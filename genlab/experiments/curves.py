"""Plot of training curves: a line for each experiment, a band over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genlab.drawing.charts import figure, legend_line, plain, save
from genlab.experiments.comparison import Group, Run

# Okabe & Ito 2008: eight colours that colour-blind readers tell apart (yellow is too light here)
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)))
MOST = 12  # lines that a reader can follow
WIDE = 30.0  # ratio of largest to smallest value from which an axis is logarithmic


def band(found: Sequence[Run], metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Steps, mean and standard deviation (n - 1) of a metric over runs; None where none has it.

    Curves of other steps are interpolated; the band ends with the shortest.
    """
    curves = [
        tuple(np.array(column, dtype=float) for column in zip(*run.curves[metric], strict=True))
        for run in found
        if run.curves.get(metric)
    ]
    if not curves:
        return None
    first, last = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    steps = np.unique(np.concatenate([x for x, _ in curves]))
    steps = steps[(steps >= first) & (steps <= last)]
    if not len(steps):
        return None
    values = np.stack([np.interp(steps, x, y) for x, y in curves])
    spread = values.std(0, ddof=1) if len(values) > 1 else np.zeros(len(steps))
    return steps, values.mean(0), spread


def draw(groups: Sequence[Group], metrics: Sequence[str], file: Path, title: str) -> list[str]:
    """Write the curves of ``metrics``, a panel each, and return the metrics that had any.

    Args:
        groups: the experiments, the most interesting first; at most 12 are drawn.
        metrics: columns of metrics.csv.
        file: the PNG; nothing is written when there is no curve.
        title: title of the plot.

    Raises:
        OSError: the file cannot be written.
    """
    drawn = groups[:MOST]
    bands = {m: [band(group.counted, m) for group in drawn] for m in metrics}
    bands = {metric: found for metric, found in bands.items() if any(found)}
    if not bands:
        return []
    rows = (len(bands) + 1) // 2
    columns = min(2, len(bands))
    height = 3.6 * rows + 0.9 + 0.24 * len(drawn)
    chart = figure(4.8 * columns + 1, height, dpi=120)
    panels = chart.subplots(rows, columns, squeeze=False).flat
    for axes, (metric, found) in zip(panels, bands.items(), strict=False):
        _panel(axes, metric, found, drawn)
    for axes in list(panels):
        axes.set_visible(False)
    handles = [_line(k, group) for k, group in enumerate(drawn)]
    chart.legend(handles=handles, loc="outside lower center", frameon=False, fontsize=9)
    more = f" (best {MOST} of {len(groups)})" if len(groups) > MOST else ""
    spread = any(len(group.counted) > 1 for group in drawn)
    chart.suptitle(
        plain(title) + more + ("\nmean ± standard deviation over seeds" if spread else "")
    )
    save(chart, file)
    return list(bands)


def _style(k: int) -> dict[str, Any]:
    return {"color": COLOURS[k % len(COLOURS)], "linestyle": DASHES[k // len(COLOURS)]}


def _line(k: int, group: Group) -> Any:
    """A legend entry: what the experiment is, and of how many runs."""
    counted = group.counted
    states = {run.state for run in counted} - {"done"}
    note = f" ({len(counted)} seeds)" if len(counted) > 1 else ""
    note += f" [{', '.join(sorted(states))}]" if states else ""
    return legend_line(plain(group.name) + note, linewidth=1.8, **_style(k))


def _panel(axes: Any, metric: str, found: Sequence[Any], groups: Sequence[Group]) -> None:
    shown = [(k, one) for k, one in enumerate(found) if one is not None]
    values = np.concatenate([mean for _, (_, mean, _) in shown])
    values = values[np.isfinite(values)]
    log = len(values) and values.min() > 0 and values.max() > WIDE * values.min()
    for k, (steps, mean, sd) in shown:
        alone = {"marker": "o", "markersize": 4} if len(steps) == 1 else {}
        axes.plot(steps, mean, linewidth=1.8, **alone, **_style(k))
        if sd.any():
            low = np.maximum(mean - sd, values.min() / 2) if log else mean - sd
            axes.fill_between(steps, low, mean + sd, color=_style(k)["color"], alpha=0.2, lw=0)
    axes.set(xlabel="optimiser steps", ylabel=metric, yscale="log" if log else "linear")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
