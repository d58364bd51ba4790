"""The file of a study: methods, data, budget, search, seeds and columns."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genlab import recipes
from genlab.errors import RecipeError, nearest
from genlab.experiments import study_files
from genlab.experiments.file_fields import filled
from genlab.recipes.heads import Head
from genlab.recipes.resolution import lineage

STEPS = "\nsteps:"  # begins the last part of a file, which `timing` writes


@dataclass(frozen=True)
class Search:
    """Trials of a method, a grid.

    Args:
        select: column by which validation data select.
        seed: seed of every trial.
        scale: factors of settings of the method's recipe, ``model.optimizer.lr: [0.3, 1, 3]``.
        own: an axis of each method, ``simclr: model.temperature=0.2,0.5``.
        other: factors, as in ``scale``, for methods without an axis of their own.
    """

    select: str = "linear 1%"
    seed: int = 100
    scale: Mapping[str, list[float]] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    other: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """Classifiers on frozen features, fixed for the whole table.

    Args:
        labels: name of a column and its labels: a share up to 1 or a number.
        strength: L2 penalty per image.
        draws: draws of the labelled images, where not all have labels.
        k: neighbours of the kNN.
    """

    labels: Mapping[str, float] = field(default_factory=lambda: {"all": 1.0, "1%": 0.01})
    strength: float = 1e-3
    draws: int = 20
    k: int = 20


@dataclass(frozen=True)
class Table:
    """A study as its file says it.

    Args:
        name: path below ``recipes/studies`` without the ending, or the file's stem.
        file: the file.
        head: facts about it.
        recipes: data in the names of recipes, ``digits`` for ``simclr/digits``; the first that a
            method has is taken.
        settings: ``key=value`` of every run.
        encoder: ``key=value`` of the encoder of every method whose recipe has no ViT.
        row_settings: ``key=value`` of a row over those of all, ``split_brain:
            [model.encoder_kwargs.width=8]`` for halves of half the width.
        budget: ``seconds`` of CPU time, or ``images``, of a run.
        row_seconds: CPU seconds of a row, where they are not the budget's, ``mae: 280``.
        steps: optimiser steps of each row, from `timing`.
        seeds: seeds of the runs in the table.
        search: trials of each row.
        settings_of: table whose search selects the settings of this one; methods that it has not,
            and all where there is no search, have those of their recipes.
        probe: classifiers on frozen features.
        methods: methods, where not all are taken.
        left_out: methods that are not taken, and why.
        others: rows of methods that are not self-supervised, ``supervised: classifier``.
        untrained: True for rows of raw pixels and of every encoder as it is drawn.
        inner: True to judge pretext tasks on a convolutional encoder, and the untrained one, by
            the better of two layers; validation data select it.
        peers: module of LightningModules by name of another library; a class of the name of
            genlab's takes its place.
        notes: remarks on rows, ``supcon: trains with labels``.
        baselines: accuracy of a pretext task's shortcut alone, without learning, in %.
    """

    name: str
    file: Path
    head: Head
    recipes: list[str]
    budget: Mapping[str, float]
    seeds: list[int]
    settings: list[str] = field(default_factory=list)
    encoder: list[str] = field(default_factory=list)
    row_settings: Mapping[str, list[str]] = field(default_factory=dict)
    row_seconds: Mapping[str, float] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)
    search: Search | None = None
    settings_of: str | None = None
    probe: Probe = field(default_factory=Probe)
    methods: list[str] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)
    untrained: bool = True
    inner: bool = False
    peers: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name as part of a run's id."""
        return re.sub(r"\W+", "-", self.name)


def shipped() -> dict[str, Path]:
    """Every shipped table by its name."""
    return study_files.shipped(questions=False)


def read(word: str) -> Table:
    """The table that a path or a shipped name means.

    Raises:
        RecipeError: there is none, or its file is wrong.
    """
    known = shipped()
    file = Path(word) if os.path.isfile(word) else known.get(word)
    if file is None:
        raise RecipeError(f"no study {word}", hint=nearest(word, known) or "genlab study ls")
    file = file.resolve()
    content: dict[str, Any] = {}
    for _, part in lineage(file):
        content.pop("steps", None)  # those of the base's images and budget
        content |= part  # key by key: a mapping replaces the base's
    names = {path.resolve(): name for name, path in known.items()}
    where = str(file)
    content |= {"name": names.get(file, file.stem), "file": file, "head": recipes.head(file)}
    for key, kind in (("search", Search), ("probe", Probe)):
        if isinstance(content.get(key), dict):
            content[key] = filled(kind, content[key], f"{where}, {key}", "a study")
    table: Table = filled(Table, content, where, "a study")
    _check(table, where)
    return table


def _check(table: Table, where: str) -> None:
    budget = dict(table.budget)
    if list(budget) not in (["seconds"], ["images"]) or not min(budget.values()) > 0:
        raise RecipeError("budget is not {seconds: S} or {images: N}", f"{where}, budget")
    if table.row_seconds and "seconds" not in budget:
        raise RecipeError("row_seconds requires a budget of seconds", f"{where}, row_seconds")
    if not table.seeds or len(set(table.seeds)) != len(table.seeds):
        raise RecipeError("seeds is not a list of different numbers", f"{where}, seeds")
    if table.search and table.settings_of:
        raise RecipeError("search cannot be combined with settings_of", where)
    columns = ["knn", *(f"linear {name}" for name in table.probe.labels)]
    if table.search and table.search.select not in columns:
        what = f"select {table.search.select} is not a column"
        raise RecipeError(what, f"{where}, search", f"columns are {', '.join(columns)}")


def write_steps(table: Table, steps: Mapping[str, int]) -> None:
    """Replace the last part of a table's file, the steps of each row."""
    text = table.file.read_text(encoding="utf-8")
    before = text.partition(STEPS)[0].rstrip("\n")
    rows = "".join(f"  {key}: {count}\n" for key, count in steps.items())
    table.file.write_text(f"{before}\n{STEPS[1:]}\n{rows}", encoding="utf-8")
