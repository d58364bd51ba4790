"""A table of two small recipes, and results that nobody trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genlab.experiments.tables import table as tables
from genlab.experiments.tables.cells import Cell, TableCells

SMALL = """\
title: Digits in two steps
run: genlab reproduce small.yaml
---
seeds: [0, 1]
settings: [data.val_size=200, trainer.max_steps=2, data.batch_size=64]
columns:
  error: {read: test/accuracy, scale: -100, offset: 100, unit: '%', digits: 1}
  cross entropy: {read: test/loss, unit: nats}
rows:
  classifier: {recipe: classifier/digits, limits: {error: 99}, notes: two steps}
  few labels: {recipe: fixmatch/digits, settings: [data.unlabeled_ratio=1], limits: {error: 1}}
published:
- {name: Theirs, values: {error: 1.36}, spread: {error: 0.03}, source: 'Them 2018, table 3', notes: MLP}
"""  # noqa: E501


def cells_of(file: Path, **keys: Any) -> TableCells:
    other = file.with_name("other.yaml")
    lines = [f"{key}: {json.dumps(value)}" for key, value in keys.items()]
    other.write_text("\n".join(["title: x", "---", "config: small.yaml", *lines]) + "\n")
    return TableCells(tables.read(str(other)), file.parent / "runs")


def measured(cells: TableCells, cell: Cell, error: float) -> None:
    cells.folder.mkdir(parents=True, exist_ok=True)
    cells.keep(cell, {"error": error, "cross entropy": error / 10, "seconds": 3.0 + cell.seed})
