"""Confusion matrix of a classifier."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from genlab import runs
from genlab.callbacks._mistakes import COLUMNS, Mistakes, table
from genlab.contracts import data_of
from genlab.drawing.charts import figure, pixels, plain
from genlab.drawing.grid import write
from genlab.drawing.may_fail import may_fail
from genlab.files import replacing, shown_path
from genlab.metrics.class_report import class_report_of
from genlab.training.tracking.shown import has_tables, show, tabulate

MOST_NUMBERS = 30  # classes up to which the counts are written into the cells
MOST_NAMES = 60  # classes up to which all are named


class ConfusionMatrix(L.Callback):
    """The confusion matrix of a test as ``pictures/confusion.png``, in W&B, and ``per_class.csv``.

    For methods with a `metrics.ClassReport` among their parts; ignored for others. Rows are the
    true classes; a cell's shade is its share of the row. W&B also gets two tables of images with
    label, prediction and confidence: the first ones, and the mistakes that the method is surest of.

    Args:
        folder: folder of the files; null for the run directory, if there is a run.
        predicted: names of the method's classes, where labels are numbered otherwise; null for the
            data's names.
        rows: most rows of each of the two tables; 0 for no table.
    """

    def __init__(
        self, folder: str | None = None, predicted: list[str] | None = None, rows: int = 32
    ) -> None:
        self.folder, self.predicted, self.rows = folder, predicted, rows
        self._mistakes: Mistakes | None = None

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._mistakes = Mistakes(self.rows) if self.rows and has_tables(trainer) else None

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        report = class_report_of(pl_module)
        if self._mistakes is None or report is None or report.batch is None:
            return
        if isinstance(batch, dict) and {"image", "index"} <= batch.keys():
            self._mistakes.update(batch["image"], batch["index"], *report.batch)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        report = class_report_of(pl_module)
        matrix = report.confusion if report is not None else None
        run = Path(self.folder or trainer.default_root_dir)
        found = self._mistakes.gathered() if self._mistakes else ([], [])
        if (
            report is None
            or matrix is None
            or not trainer.is_global_zero
            or not (self.folder or runs.is_run(run))
        ):
            return
        names = _filled(getattr(data_of(trainer), "classes", None), len(matrix))
        predicted = _filled(self.predicted, len(matrix)) if self.predicted else names
        write_table(run / "per_class.csv", names, report.per_class(), predicted)
        with may_fail("pictures/confusion.png"):
            picture = draw(matrix.numpy(), names, predicted)
            write(picture, run / "pictures" / "confusion.png")
            show(trainer, "confusion", picture)
        for key, rows in zip(("test/predictions", "test/mistakes"), found, strict=True):
            with may_fail(key):
                tabulate(trainer, key, COLUMNS, table(rows, names, predicted))
        if self.folder is not None:
            print(f"metrics by class are in {shown_path(run)}", file=sys.stderr)


def _filled(names: Iterable[object] | None, count: int) -> list[str]:
    """Names of ``count`` classes: numbers where there are none."""
    known = [str(name) for name in names or []]
    return known + [str(k) for k in range(len(known), count)]


def write_table(
    file: Path,
    names: list[str],
    columns: dict[str, list[float]],
    predicted: list[str] | None = None,
) -> None:
    """Write a table with one row per class: its name and its values in ``columns``.

    Args:
        file: the table.
        names: names of the labels.
        columns: a value for each class.
        predicted: names of the method's classes; a column where they are others.
    """
    named = {} if predicted in (None, names) else {"predicted": predicted}
    file.parent.mkdir(parents=True, exist_ok=True)
    with (
        replacing(file) as draft,
        draft.open("w", newline="", encoding="utf-8", errors="replace") as out,
    ):
        rows = csv.writer(out)
        rows.writerow(["class", *named, *columns])
        numbers = zip(*columns.values(), strict=True)
        for *said, values in zip(names, *named.values(), numbers, strict=True):
            rows.writerow([*said, *(f"{value:.6g}" for value in values)])


def draw(matrix: np.ndarray, names: list[str], predicted: list[str] | None = None) -> np.ndarray:
    """Draw counts, rows true and columns predicted: (K, K) -> (H, W, 3) bytes."""
    above = [plain(name) for name in predicted or names]
    share = matrix / matrix.sum(1, keepdims=True).clip(min=1)
    names = [plain(name) for name in names]
    side = min(16.0, 2.5 + 0.5 * len(names))
    chart = figure(side, side)
    axes, darkness = chart.add_subplot(), share**0.4  # a few in a hundred must be seen
    axes.imshow(darkness, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    every = 1 if len(names) <= MOST_NAMES else len(names) // 20
    ticks = np.arange(0, len(names), every)
    axes.set_xticks(
        ticks, [above[k] for k in ticks], rotation=90 if max(map(len, above)) > 3 else 0
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
