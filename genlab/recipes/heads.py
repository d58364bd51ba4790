"""Heads of recipes: the facts in the first of a file's two YAML documents, which no run reads.

A head names the paper, the aim, the cost and the measured results of a recipe::

    title: VAE (64-128-8 MLP) on scikit-learn's 8x8 digits.
    paper:
    - {name: Kingma & Welling 2013, url: 'https://arxiv.org/abs/1312.6114'}
    aims: recognisable digits within a minute on a laptop
    measured:
    - {metric: test/neg_elbo, value: 24.34, unit: nats, seeds: [0], date: 2026-11}
    cost: 13 CPU seconds
    run: genlab fit vae/digits
    ---
    config: base.yaml

``measured: not run`` stands for results that nobody has measured.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from genlab.errors import RecipeError, nearest

NOT_RUN = "not run"
UNITS = {"s": 1, "second": 1, "minute": 60, "hour": 3600}
TIME = re.compile(r"(an?|\d+(?:\.\d+)?) (?:CPU )?(s|second|minute|hour)s?\b")
COST = re.compile(  # a time of the whole run, not of a part of it
    rf"(?:at most |about |under |less than )?({TIME.pattern}(?: and {TIME.pattern})*)"
    r"(?=$|[,;]| on | of one | of training on )"
)
MOST_SEEDS = 1000
MEASURING = ("data.eval_batch_size", "trainer.limit_test_batches")  # say what is measured, no more
FORMS = {  # of the texts that are not prose
    "url": (r"https?://[^\s\"'<>()\[\]{}\\]+", "an address", "it begins with https://"),
    "date": (r"\d{4}-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?", "a date", "such as 2026-11"),
    "fingerprint": (r"[0-9a-f]{64}", "a fingerprint", "it has 64 digits of 0-9a-f"),
}
NEEDED = {"Head": ("title",), "Result": ("metric", "value"), "Paper": ("name",)}


@dataclass(frozen=True)
class Paper:
    """A publication.

    Args:
        name: authors and year, or the publication's name.
        url: address of the paper or code.
        notes: section, settings, or the part that the recipe follows.
    """

    name: str
    url: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Result:
    """A measured result.

    Args:
        metric: the key under which it is logged or printed.
        value: mean over the seeds.
        unit: such as ``%`` or ``nats``.
        spread: standard deviation over the seeds.
        seeds: seeds of the runs.
        command: command that prints it; empty for that of the recipe, ``run``.
        date: year and month, or day.
        machine: kind of machine.
        torch: version of torch.
        fingerprint: code and settings that were measured.
        notes: conditions, and results to compare with.
    """

    metric: str
    value: float
    unit: str = ""
    spread: float | None = None
    seeds: tuple[int, ...] = ()
    command: str = ""
    date: str = ""
    machine: str = ""
    torch: str = ""
    fingerprint: str = ""
    notes: str = ""

    @property
    def own(self) -> bool:
        """True for the recipe as it is, not ``genlab fit`` with other settings of training."""
        changed = self.command.split()[3:] if self.command.startswith("genlab fit ") else []
        return all(word.partition("=")[0] in MEASURING for word in changed)

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" ± {self.spread}"
        return f"{self.metric} {self.value}{spread} {self.unit}".rstrip()


@dataclass(frozen=True)
class Head:
    """Facts about a recipe.

    Args:
        title: method, network and data in one line.
        paper: publications that it follows.
        aims: result that it is to reach.
        published: result of the paper or of its code, in short, such as ``92.6 %``.
        measured: results measured with genlab; empty where it was not run.
        cost: time that it takes, and on what.
        run: command that trains it.
        data: place and layout of its images.
        notes: further commands and conditions.
    """

    title: str
    paper: tuple[Paper, ...] = ()
    aims: str = ""
    published: str = ""
    measured: tuple[Result, ...] = ()
    cost: str = ""
    run: str = ""
    data: str = ""
    notes: tuple[str, ...] = ()

    @property
    def result(self) -> Result | None:
        """The first result of the recipe as it is."""
        return next((one for one in self.measured if one.own), None)

    @property
    def seconds(self) -> float:
        """Time of a run by the cost; infinite where the cost is not a time."""
        found = COST.match(self.cost)
        times = TIME.findall(found[1]) if found else [("inf", "s")]
        return sum(UNITS[unit] * (1.0 if n.startswith("a") else float(n)) for n, unit in times)

    def __str__(self) -> str:
        """The facts as aligned lines, the title first."""
        rows = [("Paper", _paper(one)) for one in self.paper]
        rows += [("Aims at", self.aims), ("Published", self.published)]
        rows += [("Measured", _result(one)) for one in self.measured] or [("Measured", NOT_RUN)]
        rows += [("Cost", self.cost), ("Run", self.run), ("Data", self.data)]
        rows += [("Note", one) for one in self.notes]
        return "\n".join([self.title, *(f"{f'{key}:':10} {text}" for key, text in rows if text)])


def _paper(paper: Paper) -> str:
    notes = f"({paper.notes})" if paper.notes else ""
    return " ".join(part for part in (paper.name, paper.url, notes) if part)


def _result(result: Result) -> str:
    seeds = ", ".join(map(str, result.seeds))
    said = (str(result), seeds and f"seeds {seeds}", result.command, result.notes)
    return "; ".join(part for part in (*said, result.machine, result.date) if part)


def checked(content: Any, where: str) -> Head:
    """A head from the mapping that its document holds.

    Args:
        content: the first document of a recipe file.
        where: name of the file for messages.

    Raises:
        RecipeError: an unknown key, or a value of another kind.
    """
    if not isinstance(content, dict):
        raise RecipeError("the head of a recipe is a mapping", where, "a head ends at the line ---")
    return Head(**_arguments(Head, content, f"{where}, head"))


def _arguments(kind: type, content: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Checked arguments of a fact's class."""
    known = {one.name: str(one.type) for one in fields(kind)}
    for key in content:
        if key not in known:
            raise RecipeError(f"unknown key {key}", where, nearest(key, known))
    for key in NEEDED[kind.__name__]:
        if content.get(key) in (None, ""):
            raise RecipeError(f"{key} is missing", where)
    given = {key: value for key, value in content.items() if value is not None}
    return {key: _value(known[key], value, f"{where}.{key}") for key, value in given.items()}


def _value(kind: str, value: Any, where: str) -> Any:
    """A value of the kind that a field's annotation names."""
    if kind == "tuple[Result, ...]" and value == NOT_RUN:
        return ()
    if kind.startswith("float"):
        return _number(value, where)
    if kind == "str":
        return _text(value, where)
    items = value if isinstance(value, list) else [value]
    if kind == "tuple[str, ...]":
        return tuple(_text(item, where) for item in items)
    if kind == "tuple[int, ...]":
        return _seeds(items, where)
    of = Result if kind == "tuple[Result, ...]" else Paper
    if not items or not all(isinstance(item, dict) for item in items):
        also = f", or {NOT_RUN}" if of is Result else ""
        raise RecipeError(f"{value!r} is not a list of mappings{also}"[:200], where)
    return tuple(of(**_arguments(of, item, where)) for item in items)


def _number(value: Any, where: str) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if known and sys.float_info.max < abs(value) < math.inf:
        raise RecipeError("the number is too large", where)
    if not known or not math.isfinite(value):
        raise RecipeError(f"{value!r} is not a number"[:200], where)
    if where.endswith(".spread") and value < 0:
        raise RecipeError(f"{value!r} is not a standard deviation: it is negative", where)
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise RecipeError(f"{value!r} is not text"[:200], where, "put it in quotes")
    form, kind, hint = FORMS.get(where.rpartition(".")[2], (".*", "", ""))
    if value and not re.fullmatch(form, value, re.S):
        raise RecipeError(f"{value!r} is not {kind}"[:200], where, hint)
    if not value.isprintable():
        raise RecipeError(f"{value!r} is not one line of text"[:200], where)
    return value


def _seeds(items: list[Any], where: str) -> tuple[int, ...]:
    whole = all(type(item) is int and 0 <= item < 2**32 for item in items)
    if not whole or not len({*items}) == len(items) <= MOST_SEEDS:
        what = f"seeds are not a list of at most {MOST_SEEDS:,} different whole numbers"
        raise RecipeError(what, where, "each from 0 to 2**32 - 1")
    return tuple(items)
