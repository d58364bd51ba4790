"""The file of a published table: rows of recipes, columns of metrics, the papers' results."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genlab import recipes
from genlab.errors import RecipeError, nearest
from genlab.experiments.file_fields import filled
from genlab.recipes.heads import Head
from genlab.recipes.resolution import lineage

BETTER = ("higher", "lower")


@dataclass(frozen=True)
class Column:
    """A column of a table: offset + scale times a metric.

    Args:
        read: key of the metric, ``test/accuracy``; the newest result of the run, or that of
            ``test`` or ``evaluate``.
        unit: its unit, in the heading.
        scale: factor of the metric.
        offset: number added to it.
        better: ``higher`` or ``lower``, for limits.
        digits: digits after the point.
        test: ``key=value`` settings under which the run is tested again; null for none.
        evaluate: options of ``genlab evaluate``, ``{samples: 10000}``; null for none. With a
            ``judge`` of the table they take its run.
    """

    read: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    better: str = "lower"
    digits: int = 2
    test: list[str] | None = None
    evaluate: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table: a recipe with settings, and a run for each seed.

    Args:
        recipe: name of the recipe.
        settings: ``key=value`` over it and over the table's.
        after: recipes that are trained before it with the same seed, by the setting that takes
            their run, ``model.tokenizer: vqvae/mnist``.
        reads: metrics of columns, where they are not those of the table, ``nll: test/iwae_nll``.
        limits: bound that the mean of a column has to reach, by its name.
        seeds: seeds of its runs; empty for those of the table.
        test: ``key=value`` settings under which its runs are tested again for every column, after
            those of the column.
        notes: remark on the row.
    """

    recipe: str
    settings: list[str] = field(default_factory=list)
    after: Mapping[str, str] = field(default_factory=dict)
    reads: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    notes: str = ""


@dataclass(frozen=True)
class Published:
    """A row of a paper.

    Args:
        name: name of the method.
        values: its results by the names of columns.
        source: publication and table.
        spread: standard deviations, where the paper has them.
        notes: difference from the rows above, such as another split.
    """

    name: str
    values: Mapping[str, float]
    source: str
    spread: Mapping[str, float] = field(default_factory=dict)
    notes: str = ""


@dataclass(frozen=True)
class Table:
    """A published table as its file says it.

    Args:
        name: the file's stem.
        file: the file.
        head: facts about it.
        columns: columns by their names.
        rows: rows by their names.
        published: rows of papers.
        seeds: seeds of the runs.
        settings: ``key=value`` of every run.
        vary: settings besides ``seed_everything`` that take the seed's number,
            ``data.labels_seed``.
        judge: recipe of the feature extractor of ``evaluate``, trained once, with the first seed.
        minutes: CPU minutes of training of every row, with the runs that it starts from; null where
            each recipe has its own length.
        steps: optimiser steps that take so long, by the name of the row, and those of the runs
            before rows by the name of their recipe; required by ``minutes``.
    """

    name: str
    file: Path
    head: Head
    columns: Mapping[str, Column]
    rows: Mapping[str, Row]
    published: list[Published] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    settings: list[str] = field(default_factory=list)
    vary: list[str] = field(default_factory=list)
    judge: str | None = None
    minutes: float | None = None
    steps: Mapping[str, int] = field(default_factory=dict)

    def length(self, key: str) -> list[str]:
        """Settings that end a run of a row, or of a recipe before rows, after its steps."""
        if key not in self.steps:
            return []
        return ["trainer.max_epochs=-1", f"trainer.max_steps={self.steps[key]}"]

    @property
    def slug(self) -> str:
        """The name as part of a run's id."""
        return re.sub(r"\W+", "-", self.name)


def folder() -> Path:
    """The folder of shipped tables."""
    return recipes.root() / "tables"


def shipped() -> dict[str, Path]:
    """Every shipped table by its name."""
    return {file.stem: file for file in sorted(folder().glob("*.yaml"))}


def read(word: str) -> Table:
    """The table that a path or a shipped name means.

    Raises:
        RecipeError: there is none, or its file is wrong.
    """
    known = shipped()
    file = Path(word) if os.path.isfile(word) else known.get(word)
    if file is None:
        raise RecipeError(f"no table {word}", hint=nearest(word, known) or "genlab reproduce ls")
    file, where = file.resolve(), str(file)
    content: dict[str, Any] = {}
    for _, part in lineage(file):
        content |= part  # key by key: a mapping replaces the base's
    parts: dict[str, tuple[type, str]] = {"columns": (Column, "a column"), "rows": (Row, "a row")}
    for key, (kind, noun) in parts.items():
        given = _mapping(content.get(key), f"{where}, {key}")
        content[key] = {
            str(name): filled(kind, _mapping(one, f"{where}, {key}"), f"{where}, {key}", noun)
            for name, one in given.items()
        }
    content["published"] = [
        filled(Published, _mapping(one, f"{where}, published"), f"{where}, published", "a row")
        for one in content.get("published") or []
    ]
    content |= {"name": file.stem, "file": file, "head": recipes.head(file)}
    table = filled(Table, content, where, "a table")
    _check(table, where)
    return table


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise RecipeError("not a mapping with keys", where)
    return value


def _check(table: Table, where: str) -> None:
    """Refuse seeds given twice, unknown columns, and rows without steps of the budget."""
    seeds = {"": table.seeds, **{f"rows.{key}.": row.seeds for key, row in table.rows.items()}}
    for place, given in seeds.items():
        if len(set(given)) != len(given) or not (given or place):
            raise RecipeError("seeds is not a list of different numbers", f"{where}, {place}seeds")
    for name, column in table.columns.items():
        place = f"{where}, columns.{name}"
        if column.better not in BETTER:
            raise RecipeError(f"better {column.better} is not higher or lower", place)
        tested = column.test is not None or any(row.test for row in table.rows.values())
        if tested and column.evaluate is not None:
            raise RecipeError("test cannot be combined with evaluate", place)
    trained = [*table.rows, *(one for row in table.rows.values() for one in row.after.values())]
    for key in table.steps:
        if key not in trained:
            hint = nearest(key, trained)
            raise RecipeError(f"unknown row or run before rows {key}", f"{where}, steps", hint)
    lacking = [key for key in trained if key not in table.steps]
    if table.minutes is not None and lacking:
        raise RecipeError(f"minutes requires steps of {lacking[0]}", f"{where}, steps")
    named: list[tuple[str, Mapping[str, Any]]]
    named = [(f"rows.{key}", row.limits) for key, row in table.rows.items()]
    named += [(f"rows.{key}", row.reads) for key, row in table.rows.items()]
    named += [(f"published, {one.name}", one.values) for one in table.published]
    for place, values in named:
        for name in values:
            if name not in table.columns:
                hint = nearest(name, table.columns)
                raise RecipeError(f"unknown column {name}", f"{where}, {place}", hint)
