"""Chart of a run's loss against the accuracy of its features."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import lightning as L
import numpy as np

from genlab.drawing.charts import figure, legend_line, pixels, plain
from genlab.drawing.may_fail import may_fail
from genlab.training.tracking.csv_log import CSVLog
from genlab.training.tracking.shown import publish, run_name

MARKERS = "osD^v"
LINES = ("-", "--", ":", "-.", (0, (6, 2, 1, 2, 1, 2)))
INK = "0.35"
Point = tuple[int, float, float]  # step, loss, accuracy


class LossAgainstProbe(L.Callback):
    """``pictures/loss_probe.png``: accuracies over the run against its loss, coloured by step.

    One point for each validation: its accuracy, and the mean of the loss logged since the one
    before. Where a lower loss no longer means better features, the loss does not select a
    checkpoint. Drawn at the end of training from the run's metrics.csv, with what earlier starts of
    the run have logged; ignored where there are fewer than two points.

    Args:
        loss: metric on the horizontal axis.
        accuracies: metrics on the vertical axis; those that the run does not log are left out.

    Raises:
        ValueError: no accuracy.
    """

    def __init__(
        self,
        loss: str = "train/loss",
        accuracies: Sequence[str] = ("val/knn_top1", "val/probe_top1"),
    ) -> None:
        if not accuracies:
            raise ValueError("LossAgainstProbe.accuracies must name at least one metric")
        self.loss, self.accuracies = loss, list(accuracies)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        logs = [log for log in trainer.loggers if isinstance(log, CSVLog)]
        if not trainer.is_global_zero or not logs:
            return
        with may_fail("pictures/loss_probe.png"):
            rows = logs[0].kept()
            series = {name: points(rows, self.loss, name) for name in self.accuracies}
            series = {name: found for name, found in series.items() if len(found) > 1}
            if series:
                publish(
                    trainer, "loss_probe", chart(series, self.loss, run_name(trainer, pl_module))
                )


def points(rows: Iterable[Mapping[str, str]], loss: str, accuracy: str) -> list[Point]:
    """Step, loss and accuracy of each validation, in the order of the rows.

    Args:
        rows: rows of a metrics.csv, as text.
        loss: its column; the values since the last validation are averaged.
        accuracy: its column.
    """
    found, since = list[Point](), list[float]()
    for row in rows:
        value, reached = (float(row.get(key) or math.nan) for key in (loss, accuracy))
        if math.isfinite(value):
            since.append(value)
        if math.isfinite(reached) and since:
            found.append((int(row["step"]) + 1, sum(since) / len(since), reached))
            since = []
    return found


def chart(series: Mapping[str, Sequence[Point]], loss: str, title: str) -> np.ndarray:
    """Draw points coloured by step, joined in its order: (H, W, 3) bytes.

    Each accuracy has a marker and a kind of line of its own, which the legend shows together.
    """
    drawn = figure(6, 4)
    axes = drawn.add_subplot()
    last = max(step for found in series.values() for step, _, _ in found)
    styles = zip(MARKERS * len(series), LINES * len(series), series.items(), strict=False)
    handles = []
    for marker, line, (name, found) in styles:
        steps, losses, reached = np.array(found).T
        axes.plot(losses, reached, color=INK, linewidth=1, linestyle=line, zorder=1)
        dots = axes.scatter(losses, reached, c=steps, vmin=0, vmax=last, marker=marker, s=24,
                            zorder=2)  # fmt: skip
        handles.append(
            legend_line(plain(name), color=INK, linewidth=1, linestyle=line, marker=marker)
        )
    axes.set(xlabel=plain(loss), ylabel="accuracy", title=plain(title))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(handles=handles, handlelength=3.5, frameon=False, fontsize=9)
    drawn.colorbar(dots, ax=axes, label="optimiser steps")
    return pixels(drawn)
