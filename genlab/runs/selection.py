"""Runs by names, conditions and time, and in the order of a metric."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from genlab.errors import RecipeError, RunError, nearest
from genlab.runs.conditions import PLAIN, QUANTITIES, TIMES, Comparison, parse
from genlab.runs.finding import find, meant
from genlab.runs.registry import settings
from genlab.runs.rows import STATES, Row

FACTS = ("recipe", "id", "state", "step", "best", "hours", "size", "host", "device", "parent",
         "fingerprint", "seed", "started", "age")  # fmt: skip
NUMBERS = ("step", "best", "hours", "seed")  # facts without a unit
DATE = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?)?)?")
MINUTES = len("2026-11-01T00:00")


def fact(row: Row, name: str) -> Any:
    """A fact of a run by its name in `FACTS`; None where it has none."""
    if name == "started":
        return datetime.fromtimestamp(row.started).isoformat()[:MINUTES]
    if name == "age":
        return time.time() - row.started
    if name == "parent":
        return ", ".join(row.parents) or None
    value = getattr(row, name)
    return None if value == "" else value


def by_words(rows: Sequence[Row], words: Sequence[str], root: str | Path = "runs") -> list[Row]:
    """The rows of the runs that names select, see `finding.meant`; all without names.

    Raises:
        RunError: an empty name, one that selects none, or runs of another folder.
    """
    if not words:
        return list(rows)
    if not all(word.strip() for word in words):
        raise RunError("an empty name selects no runs\nis a variable of the shell not set?")
    known = {row.path: row for row in rows}
    found = set[str]()
    for word in words:
        named = meant(word, [*known], root) or meant(f"{word}/*", [*known], root)
        own = {os.path.relpath(path, root) for path in named or [find(word, root)]} & known.keys()
        if not own:
            raise RunError(f"{word} is not below {root}/\n--runs-in names another folder of runs")
        found |= own
    return [row for path, row in known.items() if path in found]


def holds_all(word: str, root: str | Path) -> bool:
    """True if a name is the folder of all runs, or one above it."""
    inner, outer = Path(os.path.realpath(root)), os.path.realpath(word)
    return os.path.isdir(outer) and inner.is_relative_to(outer)


def where(rows: Sequence[Row], text: str, root: str | Path = "runs") -> list[Row]:
    """The rows for which a condition holds, see `conditions`.

    Raises:
        RecipeError: not a condition, or a key that is neither fact, metric nor setting of any run.
    """
    condition = parse(text)
    compared = list(condition.comparisons())
    for one in compared:
        if one.key == "state" and one.sign != "~" and one.word not in STATES:
            raise RecipeError(f"no run is {one.word}", "--where", nearest(one.word, STATES))
    keys = list(dict.fromkeys(one.key for one in compared))
    metrics = {name for row in rows for name in row.metrics}
    for one in compared:
        _check_value(one, metrics)
    others = [key for key in keys if key not in FACTS and key not in metrics]
    kept = settings(root, list(rows)) if others else {}
    named = {key: setting_of(key, kept.values(), metrics) for key in others} if rows else {}

    def look(row: Row, key: str) -> Any:
        if key in FACTS:
            return fact(row, key)
        return kept[row.path].get(named[key]) if key in named else row.metrics.get(key)

    return [row for row in rows if condition.holds(lambda key, row=row: look(row, key))]  # type: ignore[misc]


def _check_value(one: Comparison, metrics: Collection[str]) -> None:
    """Refuse to compare a fact or a metric with what it never is.

    Raises:
        RecipeError: so it is.
    """
    if one.sign == "~" or one.value is None:
        return
    if one.key in QUANTITIES and not isinstance(one.value, float):
        hint = f"{one.key} takes {QUANTITIES[one.key]}"
        raise RecipeError(f"{one.key} {one.sign} {one.word}: unknown unit", "--where", hint)
    if one.key == "started" and not DATE.fullmatch(one.word):
        hint = "started takes a date, such as 2026-11-01; age takes 7d"
        raise RecipeError(f"{one.word} is not a date", "--where", hint)
    plain = PLAIN.fullmatch(one.word) or one.word in ("nan", "inf", "-inf")
    if (one.key in NUMBERS or one.key in metrics) and not plain:
        what = f"{one.key} is a number, {one.word} is not"
        raise RecipeError(what, "--where", "hours takes 0.5" if one.key == "hours" else "")


def setting_of(key: str, kept: Iterable[dict[str, Any]], metrics: Iterable[str] = ()) -> str:
    """The setting that a key means: its own name, or one with the parts of the key and others.

    Args:
        key: ``model.lr`` may mean ``model.optimizer.lr``.
        kept: settings of runs.
        metrics: other names, for the message.

    Raises:
        RecipeError: none, or several.
    """
    known = {name for one in kept for name in one}
    if key in known:
        return key
    parts = key.split(".")
    near = sorted(name for name in known if _holds_parts(name.split("."), parts))
    if len(near) == 1:
        return near[0]
    if near:
        raise RecipeError(f"{key} may mean {' or '.join(near[:4])}", "--where")
    names = known | {*FACTS, *metrics}
    raise RecipeError(f"no run has a setting, metric or fact {key}", "--where", nearest(key, names))


def _holds_parts(name: list[str], parts: list[str]) -> bool:
    """True if a name ends in the last part, and has the others before it in this order."""
    rest = iter(name)
    return name[-1] == parts[-1] and all(part in rest for part in parts)


def since(rows: Sequence[Row], text: str) -> list[Row]:
    """The rows of runs that were written to after a time: ``7d``, ``12h`` ago, or a date.

    Raises:
        RecipeError: neither.
    """
    start = moment(text)
    return [row for row in rows if row.updated >= start]


def moment(text: str) -> float:
    """Seconds since 1970 of a date, or of a time ago.

    Raises:
        RecipeError: neither.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|m|min|h|d|w)", text)
    if match:
        return time.time() - float(match[1]) * TIMES[match[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        what = f"--since {text} is not a time"
        raise RecipeError(what, hint="7d, 12h, 30m or 2026-11-01") from None


def ordered(
    rows: Sequence[Row], word: str, better: Callable[[str], str]
) -> tuple[str, str, list[Row]]:
    """A metric, ``min`` or ``max``, and the rows from worst to best; those without it first.

    Args:
        rows: the rows.
        word: ``METRIC``, ``METRIC:min`` or ``METRIC:max``; without a mode that of the runs which
            select by it, else the one that its definition says.
        better: function of a metric that gives the mode of its definition; empty for none.

    Raises:
        RecipeError: no run has the metric, or nothing says which values are better.
    """
    metric, colon, mode = word.rpartition(":")
    if not colon:
        metric, mode = word, ""
    names = {name.removeprefix("best/") for row in rows for name in row.metrics}
    metric = metric_of(metric, names, "--best")
    if rows and all(row.value(metric) is None for row in rows):
        raise RecipeError(f"--best: no run has the metric {metric}", hint=nearest(metric, names))
    mode = mode or _mode(rows, metric) or better(metric)
    if rows and mode not in ("min", "max"):
        what = f"--best {word}: is a small or a large value better?"
        raise RecipeError(what, hint=f"--best {metric}:min or {metric}:max")
    sign = 1 if mode == "max" else -1

    def worth(row: Row) -> tuple[bool, float]:
        value = row.value(metric)
        return (False, 0.0) if value is None or math.isnan(value) else (True, sign * value)

    return metric, mode, sorted(rows, key=worth)


def metric_of(word: str, names: Collection[str], option: str) -> str:
    """The metric that a word means: its name, or the beginning of one; else the word itself.

    Of several the one with which all others begin counts: an FID, and not its floor.

    Args:
        word: name, or its beginning up to an underscore.
        names: names of metrics.
        option: the option that has the word, for the message.

    Raises:
        RecipeError: several begin so.
    """
    if word in names or not word:
        return word
    found = sorted(
        (name for name in names if name.startswith(f"{word}_")), key=lambda one: (len(one), one)
    )
    if found and not all(name.startswith(found[0]) for name in found):
        raise RecipeError(f"{option} {word} may mean {', '.join(sorted(found)[:4])}")
    return found[0] if found else word


def _mode(rows: Sequence[Row], metric: str) -> str:
    """The mode of the runs that this metric selects; empty where there are none."""
    noun = metric.rpartition("/")[2]
    modes = {row.mode for row in rows if row.monitor.rpartition("/")[2] == noun}
    return modes.pop() if len(modes) == 1 else ""
