"""Conditions on runs: ``data.batch_size>=256 and (model.lr<0.1 or state==failed)``.

    condition   = part {"or" part}
    part        = term {"and" term}
    term        = "not" term | "(" condition ")" | key operator value
    operator    = "==" | "!=" | "<" | "<=" | ">" | ">=" | "~"

A value is a number, ``true``, ``false``, ``null`` or text, in quotes where it holds spaces or
signs; ``7d``, ``12h`` and ``30m`` are numbers of seconds, ``2GB`` is one of bytes. A space may
stand before a unit. ``age`` takes times alone, ``size`` bytes alone, in small or large letters.
``~`` compares with a pattern (``*``, ``?``). What a run lacks is ``null``.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from genlab.errors import RecipeError
from genlab.runs.settings import shown

TOKEN = re.compile(
    r"\s*(?:(?P<sign>[<>=!]=|[<>=~])|(?P<bracket>[()])|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<word>[^\s()<>=!~\"']+))"
)
ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
SIGNS = ("==", "!=", "=", "~", *ORDERS)
WORDS = ("and", "or", "not")
PLAIN = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
NUMBER = re.compile(PLAIN.pattern + "([a-zA-Z]*)")
TIMES = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
BYTES = {"": 1, "b": 1} | {k: 1000**n for n, s in enumerate("kmgt", 1) for k in (s, f"{s}b")}
UNITS = TIMES | {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
QUANTITIES = {"age": "30m, 12h, 7d, 2w", "size": "500kB, 20MB, 2GB"}  # facts with units
NAMES = {"true": True, "false": False, "null": None}
MOST, DEEPEST = 10_000, 50  # characters, brackets and nots

Lookup = Callable[[str], Any]


@dataclass(frozen=True)
class Comparison:
    """One key compared with a value.

    Args:
        key: name of a fact, metric or setting.
        sign: operator.
        word: the value as it is written.
        value: its meaning.
    """

    key: str
    sign: str
    word: str
    value: Any

    def holds(self, lookup: Lookup) -> bool:
        """True of a run.

        Args:
            lookup: function of a key that gives the run's value, None where it lacks one.
        """
        found = lookup(self.key)
        if self.sign == "~":
            return found is not None and fnmatch.fnmatchcase(_text(found), self.word)
        if self.sign in ("==", "!="):
            return self._equals(found) is (self.sign == "==")
        if _is_number(found) and _is_number(self.value):
            return bool(ORDERS[self.sign](found, self.value))
        if isinstance(found, str):
            return bool(ORDERS[self.sign](found, self.word))
        return False

    def _equals(self, found: Any) -> bool:
        if _is_number(found) and _is_number(self.value):
            return bool(found == self.value)
        is_name = found is None or isinstance(found, bool)
        return _text(found) == (self.word.lower() if is_name else self.word)

    def comparisons(self) -> Iterator[Comparison]:
        """Itself."""
        yield self


@dataclass(frozen=True)
class Joined:
    """Conditions of which all, or any, must hold; with ``not`` the one must not."""

    word: str
    parts: tuple[Condition, ...]

    def holds(self, lookup: Lookup) -> bool:
        """True of a run, see `Comparison.holds`."""
        each = (part.holds(lookup) for part in self.parts)
        if self.word == "not":
            return not next(each)
        return all(each) if self.word == "and" else any(each)

    def comparisons(self) -> Iterator[Comparison]:
        """Every comparison in it."""
        for part in self.parts:
            yield from part.comparisons()


Condition = Comparison | Joined


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else shown(value, MOST)


def value_of(word: str, key: str = "") -> Any:
    """The value that a word without quotes means, compared with a key."""
    if word.lower() in NAMES:
        return NAMES[word.lower()]
    match = NUMBER.fullmatch(word)
    if match is None:
        return word
    units, unit = {"age": TIMES, "size": BYTES}.get(key, UNITS), match[2]
    unit = unit.lower() if key == "size" else unit
    return float(match[1]) * units[unit] if unit in units else word


def parse(text: str, option: str = "--where") -> Condition:
    """The condition that a text says.

    Raises:
        RecipeError: not a condition; says at which character.
    """
    return _Parser(text, option).whole()


class _Parser:
    """Recursive descent: a method for each rule of the grammar."""

    def __init__(self, text: str, option: str) -> None:
        self.text, self.option = text, option
        self.place, self.depth = 0, 0
        if len(text) > MOST:
            raise self.error(f"a condition has at most {MOST:,} characters")
        self.tokens = list(self._tokens())

    def error(self, what: str) -> RecipeError:
        shown = self.text if len(self.text) <= 200 else f"{self.text[:200]} ..."
        return RecipeError(what, f"{self.option} '{shown}', character {self.place + 1}")

    def _tokens(self) -> Iterator[tuple[str, str, int]]:
        while self.text[self.place :].strip():
            match = TOKEN.match(self.text, self.place)
            if match is None:
                rest = self.text[self.place :].lstrip()
                self.place = len(self.text) - len(rest)
                odd = "a quotation mark without its other" if rest[0] in "\"'" else repr(rest[0])
                raise self.error(f"{odd} is not part of a condition")
            kind = str(match.lastgroup)
            yield kind, match[kind], match.start(kind)
            self.place = match.end()

    def whole(self) -> Condition:
        self.place = 0
        found = self.joined("or")
        if self.tokens:
            raise self.error(f"and or or is missing before {self.tokens[0][1]}")
        return found

    def peek(self) -> str:
        """The next token, empty at the end; of quoted text its mark."""
        if not self.tokens:
            self.place = len(self.text)
            return ""
        kind, token, self.place = self.tokens[0]
        return token[0] if kind == "text" else token

    def joined(self, word: str) -> Condition:
        part = (lambda: self.joined("and")) if word == "or" else self.term
        parts = [part()]
        while self.peek() == word:
            self.tokens.pop(0)
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def term(self) -> Condition:
        token = self.peek()
        if token not in ("not", "("):
            return self.comparison()
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"more than {DEEPEST} brackets and nots")
        self.tokens.pop(0)
        if token == "not":
            return Joined("not", (self.term(),))
        found = self.joined("or")
        if self.peek() != ")":
            raise self.error(") is missing")
        self.tokens.pop(0)
        return found

    def comparison(self) -> Condition:
        key = self.take("word", "a key, such as state or model.lr")
        if self.peek() not in SIGNS:
            raise self.error(f"one of {' '.join(SIGNS)} is missing behind {key}")
        sign = self.tokens.pop(0)[1]
        sign = "==" if sign == "=" else sign
        self.peek()
        if self.tokens and self.tokens[0][0] == "text":
            text = self.tokens.pop(0)[1][1:-1]
            known = value_of(text.replace(" ", ""), key) if key in QUANTITIES else text
            return Comparison(key, sign, text, known)
        word = self.take("word", f"a value to compare {key} with")
        unit = self.peek()
        if PLAIN.fullmatch(word) and (unit in UNITS or key in QUANTITIES):
            word += self.take("word", "a unit") if unit.isalpha() and unit not in WORDS else ""
        return Comparison(key, sign, word, value_of(word, key))

    def take(self, kind: str, what: str) -> str:
        token = self.peek()
        if not self.tokens or self.tokens[0][0] != kind or token in WORDS:
            raise self.error(f"{what} is missing" + (f" before {token}" if token else ""))
        return self.tokens.pop(0)[1]
