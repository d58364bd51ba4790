"""The results of the recipes, from their heads."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from docs.builder.markdown import code, linked, section, table
from genlab import recipes
from genlab.describing import usage
from genlab.recipes.heads import NOT_RUN, Head, Result
from genlab.recipes.kept_fingerprints import Kept

INTRODUCTION = """---
hide: [navigation]
---

# Results

Each result was measured with the command in its recipe's head, which `genlab show RECIPE` prints.

Below a result stand its conditions, and the command where it is not the recipe's alone.

- **96.1 ± 0.5**: mean over the seeds and their standard deviation; without ± from a single seed, or
  from seeds that agree.
- *not run*, 0 seeds: the recipe was not trained to the end here. A result of other settings is the
  next row, with its command in place of the recipe.
- ?: the seeds were not recorded.
- A star (\\*): the recipe or its code has changed since.
- *published, or aim*: result of the paper or of its code, or else the aim of the recipe.

"""
COLUMNS = ("recipe", "measured", "seeds", "published, or aim", "cost")


@cache
def heads() -> dict[str, Head]:
    """Facts about each shipped recipe, the sole place where the site reads them."""
    return {name: recipes.head(file) for name, file in recipes.shipped().items()}


def measured(found: Iterable[Result], today: str = "") -> str:
    """Measured results in a cell of a table, each with its conditions.

    Args:
        found: results.
        today: fingerprint of the recipe and its code now.
    """
    return "<br>".join(_result(one, today) + _conditions(one) for one in found) or NOT_RUN


def _conditions(result: Result) -> str:
    """Command of a result of the recipe, and notes, in a line of their own."""
    said = (code(result.command) if result.own else "", linked(result.notes))
    text = "; ".join(filter(None, said)).replace("+-", "±")
    return f"<br><small>{text}</small>" if text else ""


def _result(result: Result, today: str) -> str:
    spread = "" if result.spread is None else f" ± {result.spread:g}"
    changed = r"&nbsp;\*" if result.fingerprint and result.fingerprint != today else ""
    unit = f"&nbsp;{result.unit}" if result.unit else ""  # on one line with its number
    return f"**{result.value:g}{spread}**{unit} {code(result.metric)}{changed}"


def rows(names: Iterable[str]) -> list[list[str]]:
    """A row for each recipe, and one for each command with other settings, under `COLUMNS`."""
    return [row for name in names for row in of_head(name, heads()[name], _today(name))]


def of_head(name: str, head: Head, today: str = "") -> list[list[str]]:
    """Rows of a recipe: as it is, then with other settings.

    Args:
        name: its name.
        head: facts about it.
        today: fingerprint of the recipe and its code now.
    """
    own = [one for one in head.measured if one.own]
    about = linked(head.published or head.aims)
    title = f"{code(name)}<br>{head.title.rstrip('.')}"
    rows = [[title, measured(own, today), _seeds(own), about, head.cost]]
    for command in dict.fromkeys(one.command for one in head.measured if not one.own):
        found = [one for one in head.measured if one.command == command]
        rows.append([code(command), measured(found, today), _seeds(found), "", ""])
    return rows


def _seeds(found: Iterable[Result]) -> str:
    """Number of seeds of results; ``?`` where none is recorded, 0 where there is no result."""
    counts = [len(one.seeds) for one in found]
    return str(max(counts, default=0) or ("?" if counts else "0"))


@cache
def _kept() -> Kept:
    return Kept()


def _today(name: str) -> str:
    """Fingerprint of a recipe now, where one was kept with a result."""
    kept = any(result.fingerprint for result in heads()[name].measured)
    return _kept().of(recipes.shipped()[name]) if kept else ""


def families() -> dict[str, list[str]]:
    """Recipes of each folder."""
    found: dict[str, list[str]] = {}
    for name in sorted(recipes.shipped()):
        found.setdefault(name.partition("/")[0], []).append(name)
    return found


def page() -> str:
    """The page of all results."""
    parts = [section(name, table(COLUMNS, rows(names))) for name, names in families().items()]
    return INTRODUCTION + "".join(parts)


def of_class(name: str) -> list[str]:
    """Names of the recipes that name a class."""
    return usage.recipes_with(name)
