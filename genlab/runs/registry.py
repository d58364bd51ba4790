"""All runs of a folder, from an index next to them.

``.registry.json`` holds a `Row` of each run with the mark of its files. A run whose files have
another mark is read again; so is one that was training, or was written to a moment before: a
process that is killed leaves its run's files as they are, and its lock alone says that it is gone.
"""

from __future__ import annotations

import os
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from genlab.runs.finding import names
from genlab.runs.index import many_objects, mark_of, read_index, write_index
from genlab.runs.locks import held
from genlab.runs.rows import Row, read_row
from genlab.runs.settings import flat, read_groups

INDEX, SETTINGS = ".registry.json", ".registry-settings.json"
SHAPE = [one.name for one in fields(Row)]
FILES = ("recipe.yaml", "run.json", "metrics.json", "metrics.csv", ".lock", "checkpoints",
         "pictures", "links", "evaluations", "wandb", "nonfinite")  # fmt: skip


def scan(root: str | Path = "runs") -> list[Row]:
    """The rows of all runs below a folder, the newest last."""
    with many_objects():
        return sorted(_scan(Path(root)), key=lambda row: (row.started, row.path))


def _scan(root: Path) -> list[Row]:
    former = read_index(root / INDEX, SHAPE)
    place = os.fspath(root)
    marks, rows, changed = dict[str, str](), list[Row](), False
    for name in (name for name, is_one in names(place) if is_one):
        run = f"{place}/{name}"
        mark = mark_of(run, *[f"{run}/{file}" for file in FILES])
        old, values = former.pop(name, ("", ()))
        if mark and mark == old:
            row = Row(*values)
        else:
            row = read_row(root, name, held(root / name))
            mark = mark if row.state != "running" else ""
            changed = changed or bool(mark)
        marks[name] = mark
        rows.append(row)
    if changed or former:  # what is left in it is gone from the folder
        entries = {row.path: (marks[row.path], astuple(row)) for row in rows}
        write_index(root / INDEX, SHAPE, entries)
    return rows


def settings(root: str | Path, rows: list[Row]) -> dict[str, dict[str, Any]]:
    """The settings of runs by their path, as ``model.lr: 0.001``, from an index of their own."""
    root = Path(root)
    with many_objects():
        former = read_index(root / SETTINGS, [])
        new, found = dict[str, Any](), dict[str, dict[str, Any]]()
        for row in rows:
            file = root / row.path / "recipe.yaml"
            mark = mark_of(os.fspath(file))
            old, known = former.get(row.path, ("", {}))
            if not mark or mark != old:
                known = flat(read_groups(file))
                new |= {row.path: (mark, known)} if mark else {}
            found[row.path] = known
        if new:
            write_index(root / SETTINGS, [], former | new)
    return found
