"""Axes of a sweep: ``key=a,b``, ``key=0..4``, ``key=log:1e-4..1e-2`` to lists of arguments."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from genlab.errors import RecipeError
from genlab.recipes import COMMAND_LINE

SEED = "seed_everything"
MOST_VALUES = 1000
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
INTERVAL = re.compile(rf"(log|uniform):({NUMBER})\.\.({NUMBER})")
RANGE = re.compile(r"([-+]?\d+)\.\.([-+]?\d+)")


@dataclass(frozen=True)
class Axis:
    """One setting and its values, or an interval to draw them from."""

    key: str
    values: tuple[str, ...] = ()
    interval: tuple[str, str, str] | None = None  # log or uniform, lowest, highest

    def draw(self, generator: random.Random) -> str:
        """One value at random."""
        if self.interval is None:
            return generator.choice(self.values)
        kind, low, high = self.interval
        ends = float(low), float(high)
        if kind == "log":
            value = math.exp(generator.uniform(*map(math.log, ends)))
        else:
            value = generator.uniform(*ends)
        whole = re.fullmatch(r"[-+]?\d+", low) and re.fullmatch(r"[-+]?\d+", high)
        return str(round(value)) if whole else f"{value:.4g}"


def split(text: str) -> list[str]:
    """``a,[b,c],"d,e"`` -> ``a``, ``[b,c]``, ``"d,e"``: commas inside brackets do not split."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        depth += 0 if quote else (letter in "[{(") - (letter in "]})")
        if letter == "," and not quote and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def axis(word: str) -> Axis:
    """Parse a ``key=value`` argument; a plain value is an axis of one.

    Raises:
        RecipeError: an empty or repeated value, a range that runs backwards.
    """
    key, _, text = word.removeprefix("--").partition("=")
    if found := INTERVAL.fullmatch(text):
        kind, low, high = found.groups()
        if float(low) >= float(high) or (kind == "log" and float(low) <= 0):
            positive = " and begin above 0" if kind == "log" else ""
            raise RecipeError(f"{word}: {kind}:a..b must go upwards{positive}", COMMAND_LINE)
        return Axis(key, interval=(kind, low, high))
    values: list[str] = []
    for part in split(text):
        values += _range(part, word) if RANGE.fullmatch(part) else [part]
    if len(values) > 1 and "" in values:
        raise RecipeError(f"{word}: an empty value between commas", COMMAND_LINE)
    if twice := {value for value in values if values.count(value) > 1}:
        raise RecipeError(f"{word}: {min(twice)} is given twice", COMMAND_LINE)
    return Axis(key, tuple(values))


def _range(part: str, word: str) -> list[str]:
    first, last = map(int, part.split(".."))
    if not 0 <= last - first < MOST_VALUES:
        raise RecipeError(f"{word}: {part} must go upwards, at most {MOST_VALUES} values")
    return [str(value) for value in range(first, last + 1)]


def axes(words: Sequence[str]) -> list[Axis]:
    """Parse the axes of all arguments.

    Raises:
        RecipeError: see `axis`; a setting named twice; nothing that varies.
    """
    found = [axis(word) for word in words]
    keys = [one.key for one in found]
    for key in keys:
        if keys.count(key) > 1:
            raise RecipeError(
                f"{key} is set twice; give all its values in one argument", COMMAND_LINE
            )
    if all(len(one.values) == 1 for one in found):
        raise RecipeError(
            "no setting varies; give at least one several values",
            COMMAND_LINE,
            "like model.lr=1e-4,1e-3 or seed_everything=0..4",
        )
    return found


def grid(found: Sequence[Axis]) -> list[list[str]]:
    """Every combination, the last axis fastest, as ``key=value`` arguments.

    Raises:
        RecipeError: an interval has no grid.
    """
    for one in found:
        if one.interval:
            kind, low, high = one.interval
            raise RecipeError(
                f"{one.key}={kind}:{low}..{high} is an interval to draw from: add --random N",
                COMMAND_LINE,
            )
    product = itertools.product(*([f"{one.key}={v}" for v in one.values] for one in found))
    return [list(words) for words in product]


def drawn(found: Sequence[Axis], count: int, seed: int) -> list[list[str]]:
    """``count`` different random settings, each with every requested seed.

    Raises:
        RecipeError: there are fewer different ones.
    """
    generator = random.Random(seed)
    seeds = [one for one in found if one.key == SEED and not one.interval]
    free = [one for one in found if one not in seeds]
    chosen: dict[tuple[str, ...], None] = {}
    for _ in range(100 * count):
        if len(chosen) < count:
            chosen[tuple(f"{one.key}={one.draw(generator)}" for one in free)] = None
    if len(chosen) < count:
        raise RecipeError(f"--random {count}: there are only {len(chosen)} different settings")
    return [[*words, *rest] for words in chosen for rest in grid(seeds)]
