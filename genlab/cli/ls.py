"""``ls``, ``show`` and ``cp``: recipes without importing anything heavy."""

from __future__ import annotations

import math
import os
import re
from argparse import ArgumentParser
from dataclasses import dataclass
from pathlib import Path

from genlab import recipes
from genlab.describing import metrics, usage
from genlab.errors import RecipeError, cannot_write, nearest
from genlab.files import replacing, text_of
from genlab.recipes.kept_fingerprints import Kept
from genlab.recipes.resolution import lineage

COLUMNS = ("RECIPE", "METHOD", "DATA", "COST", "RESULT")
ORDERS = ("name", "cost", "result")
LEGEND = {
    ")": "(...) published result",
    "~": "~ measured before fingerprints were kept",
    "*": "* settings or code have changed since it was measured",
}
UNITS = ((3600, "h"), (60, "min"), (0, "s"))  # from so many seconds on


def ls_options(parser: ArgumentParser) -> None:
    """List recipes: name, method, data, cost and result."""
    parser.add_argument("words", nargs="*", metavar="WORD", help="parts of name or title")
    parser.add_argument(
        "--family", metavar="NAME", help="recipes of a folder, vae, or a kind, self_supervised"
    )
    parser.add_argument("--measured", action="store_true", help="those with a measured result only")
    parser.add_argument("--sort", choices=ORDERS, default="name", help="order of the lines")


def show_options(parser: ArgumentParser) -> None:
    """Print a recipe's head and resolved settings."""
    parser.add_argument("recipe")


def cp_options(parser: ArgumentParser) -> None:
    """Copy a shipped recipe to edit, without its head."""
    parser.add_argument("recipe")
    parser.add_argument("dest")


@dataclass(frozen=True)
class Line:
    """A recipe in the list."""

    name: str
    method: str
    data: str
    head: recipes.Head
    mark: str = ""
    wrong: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """Texts of the line's columns."""
        if self.wrong:
            return self.name, "", "", "", f"wrong: {self.wrong}"
        published = f" ({self.head.published})" if self.head.published else ""
        result = f"{self.head.result or 'not run' + published}{self.mark}"
        return self.name, self.method, self.data, _time(self.head.seconds), result

    def key(self, order: str) -> tuple[object, ...]:
        """Key to sort by: cost; name; data and metric, the best first. Unknown ones come last."""
        if order == "cost":
            return self.head.seconds, self.name
        if order == "result" and self.head.result:
            metric, value = self.head.result.metric, self.head.result.value
            better = [one.better for one in metrics.definitions(metric)]
            return False, self.data, metric, -value if "higher" in better else value, self.name
        return order == "result", self.name


def ls(words: list[str], family: str | None, measured: bool, sort: str) -> None:
    """Print the shipped recipes whose name or title holds each of ``words``."""
    names = recipes.shipped()
    families = {name.partition("/")[0] for name in names}
    chosen = names if family is None else _of_family(family, names, families)
    kept = Kept()
    lines = [line for name in chosen if (line := _line(name, names[name], words, measured, kept))]
    kept.save()
    if not lines:
        word = " ".join(words)
        what = f"no recipe matches {word}" if word else "no recipe has a measured result"
        near = nearest(word, {*names, *families})
        told = (
            near if near.startswith("did you mean") else f"families: {', '.join(sorted(families))}"
        )
        raise RecipeError(what, hint=told)
    _print(sorted(lines, key=lambda line: line.key(sort)))


def _of_family(family: str, names: dict[str, Path], families: set[str]) -> list[str]:
    """Recipes of a folder, or those that extend a file of this name at the top."""
    if family in families:
        return [name for name in names if name.startswith(f"{family}/")]
    bases = {file.stem for file in recipes.root().glob("*.yaml")}
    if family in bases:
        return [name for name, file in names.items() if _extends(file, family)]
    near = nearest(family, families | bases)
    every = f"families: {', '.join(sorted(families))}; kinds: {', '.join(sorted(bases))}"
    raise RecipeError(f"no family {family}", hint=near if near.startswith("did you") else every)


def _extends(file: Path, base: str) -> bool:
    """True if a recipe extends a base; a plugin's wrong one extends nothing."""
    try:
        return any(path.stem == base for path, _ in lineage(file)[:-1])
    except RecipeError:
        return False


def _print(lines: list[Line]) -> None:
    """Print a table of recipes and what its signs mean."""
    table = [COLUMNS, *(line.cells for line in lines)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
    ends = {line.cells[-1][-1] for line in lines}
    if said := [meaning for sign, meaning in LEGEND.items() if sign in ends]:
        print("\n" + "\n".join(said))


def _line(name: str, file: Path, words: list[str], measured: bool, kept: Kept) -> Line | None:
    """A recipe's line, a plugin's wrong one's too; None if it is not asked for."""
    try:
        return _asked(name, file, words, measured, kept)
    except RecipeError as error:
        asked = _holds(name, words) and not measured
        wrong = str(error).splitlines()[0]
        return Line(name, "", "", recipes.Head(""), wrong=wrong) if asked else None


def _asked(name: str, file: Path, words: list[str], measured: bool, kept: Kept) -> Line | None:
    """A recipe's line; None if it is not asked for."""
    head = recipes.head(file)
    if not _holds(f"{name} {head.title}", words) or (measured and not head.result):
        return None
    method, data = (usage.class_of(file, group) for group in ("model", "data"))
    if not method:
        recipes.resolve([file])  # says what is wrong with it
    return Line(name, method, data, head, _mark(file, head.result, kept))


def _holds(text: str, words: list[str]) -> bool:
    return all(word.lower() in text.lower() for word in words)


def _mark(file: Path, result: recipes.Result | None, kept: Kept) -> str:
    """A sign for a result whose recipe may have changed since it was measured."""
    if result is None:
        return ""
    if not result.fingerprint:
        return "~"
    return "" if kept.of(file) == result.fingerprint else "*"


def _time(seconds: float) -> str:
    """``45 s``, ``1.2 min`` or ``3 h``; empty where it is unknown."""
    if math.isinf(seconds):
        return ""
    unit, name = next((u, n) for u, n in UNITS if seconds >= u)
    return f"{seconds / max(unit, 1):.2g} {name}"


def show(recipe: str) -> None:
    """Print a recipe's head and what it resolves to."""
    source, resolved = recipes.find(recipe), recipes.resolve([recipe])
    recipes.check_keys(resolved)
    if recipes.split(text_of(source))[0]:
        print("\n".join(f"# {line}" for line in str(recipes.head(source)).splitlines()))
    print(recipes.dump(resolved).partition("\n")[2], end="")


def cp(recipe: str, dest: str) -> None:
    """Copy a recipe's settings to a file; what it extends is then found by its shipped name."""
    source, target = recipes.find(recipe), Path(dest)
    if os.path.isdir(target):
        target = target / source.name
    if os.path.lexists(target):
        raise RecipeError(f"{target} exists already; nothing is overwritten")
    recipes.read(source)  # refused unless it is a recipe
    head, text = recipes.split(text_of(source))
    if head:
        text = f"# {recipes.head(source).title}\n{text}"
    if base := re.search(r"^config:\s*(\S+)", text, re.M):
        file = (source.parent / base[1]).resolve()
        name = recipes.name_of(file) if file.is_relative_to(recipes.root().resolve()) else str(file)
        text = text[: base.start(1)] + name + text[base.end(1) :]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as draft:
            draft.write_text(text)
    except OSError as error:
        raise cannot_write(target, error) from None
    print(f"{target}: edit it, then run\n  genlab fit {target}")
