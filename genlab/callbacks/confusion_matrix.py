"""Confusion matrix of a classifier."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger

from genlab import runs
from genlab.contracts import data_of
from genlab.drawing.charts import figure, pixels, plain
from genlab.drawing.grid import write
from genlab.drawing.may_fail import may_fail
from genlab.files import replacing
from genlab.metrics.class_report import class_report_of

MOST_NUMBERS = 30  # classes up to which the counts are written into the cells
MOST_NAMES = 60  # classes up to which all are named


class ConfusionMatrix(L.Callback):
    """The confusion matrix of a test as ``pictures/confusion.png``, in W&B, and ``per_class.csv``.

    For methods with a `metrics.ClassReport` among their parts; ignored for others. Rows are the
    true classes; a cell's shade is its share of the row.

    Args:
        folder: folder of the files; null for the run directory, if there is a run.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        report = class_report_of(pl_module)
        matrix = report.confusion if report is not None else None
        run = Path(self.folder or trainer.default_root_dir)
        if (
            report is None
            or matrix is None
            or not trainer.is_global_zero
            or not (self.folder or runs.is_run(run))
        ):
            return
        names = [str(name) for name in getattr(data_of(trainer), "classes", None) or []]
        names += [str(k) for k in range(len(names), len(matrix))]
        write_table(run / "per_class.csv", names, report.per_class())
        with may_fail("pictures/confusion.png"):
            picture = draw(matrix.numpy(), names)
            write(picture, run / "pictures" / "confusion.png")
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_image("pictures/confusion", [picture])


def write_table(file: Path, names: list[str], columns: dict[str, list[float]]) -> None:
    """Write a table with one row per class: its name and its values in ``columns``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing(file) as draft,
        draft.open("w", newline="", encoding="utf-8", errors="replace") as out,
    ):
        rows = csv.writer(out)
        rows.writerow(["class", *columns])
        for name, *values in zip(names, *columns.values(), strict=True):
            rows.writerow([name, *(f"{value:.6g}" for value in values)])


def draw(matrix: np.ndarray, names: list[str]) -> np.ndarray:
    """Draw counts, rows true and columns predicted: (K, K) -> (H, W, 3) bytes."""
    share = matrix / matrix.sum(1, keepdims=True).clip(min=1)
    names = [plain(name) for name in names]
    side = min(16.0, 2.5 + 0.5 * len(names))
    chart = figure(side, side)
    axes, darkness = chart.add_subplot(), share**0.4  # a few in a hundred must be seen
    axes.imshow(darkness, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    every = 1 if len(names) <= MOST_NAMES else len(names) // 20
    ticks = np.arange(0, len(names), every)
    axes.set_xticks(
        ticks, [names[k] for k in ticks], rotation=90 if max(map(len, names)) > 3 else 0
    )
    axes.set_yticks(ticks, [names[k] for k in ticks])
    right = np.trace(matrix) / max(matrix.sum(), 1)
    axes.set(xlabel="predicted", ylabel="true", title=f"{right:.2%} of {matrix.sum():,} right")
    if len(names) <= MOST_NUMBERS:
        _write_counts(axes, matrix, darkness)
    return pixels(chart)


def _write_counts(axes: Any, matrix: np.ndarray, darkness: np.ndarray) -> None:
    size = 9 if len(matrix) <= 15 else 6
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if darkness[row, column] > 0.6 else "black"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=size)
