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

- **96.1 ± 0.5**: mean over the seeds and their standard deviation; without ± from a single seed, or
  from seeds that agree.
- *not run*, 0 seeds: the recipe was not trained to the end here.
- ?: the seeds were not recorded.
- A star (\\*): the recipe or its code has changed since.
- *published, or aim*: result of the paper or of its code, or else the aim of the recipe.

"""
COLUMNS = ("recipe", "measured", "seeds", "published, or aim", "cost")


@cache
def heads() -> dict[str, Head]:
    """Facts about each shipped recipe, the sole place where the site reads them."""
    return {name: recipes.head(file) for name, file in recipes.shipped().items()}


def measured(head: Head, today: str = "") -> str:
    """Measured results in a cell of a table.

    Args:
        head: facts about the recipe.
        today: fingerprint of the recipe and its code now.
    """
    return "<br>".join(_result(result, today) for result in head.measured) or NOT_RUN


def _result(result: Result, today: str) -> str:
    spread = "" if result.spread is None else f" ± {result.spread:g}"
    changed = r"&nbsp;\*" if result.fingerprint and result.fingerprint != today else ""
    unit = f"&nbsp;{result.unit}" if result.unit else ""  # on one line with its number
    return f"**{result.value:g}{spread}**{unit} {code(result.metric)}{changed}"


def rows(names: Iterable[str]) -> list[list[str]]:
    """A row for each recipe, under `COLUMNS`."""
    return [_row(name, heads()[name]) for name in names]


def _row(name: str, head: Head) -> list[str]:
    seeds = {len(result.seeds) for result in head.measured if result.seeds}
    counted = str(max(seeds)) if seeds else "?" if head.measured else "0"
    title = f"{code(name)}<br>{head.title.rstrip('.')}"
    return [
        title,
        measured(head, _today(name)),
        counted,
        linked(head.published or head.aims),
        head.cost,
    ]


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
