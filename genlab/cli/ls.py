"""``ls``, ``show`` and ``cp``: recipes without importing anything heavy."""

from __future__ import annotations

import os
import re
import shutil
from argparse import ArgumentParser
from pathlib import Path

from genlab import recipes
from genlab.errors import RecipeError, cannot_write, nearest
from genlab.files import replacing


def ls_options(parser: ArgumentParser) -> None:
    """List recipes."""
    parser.add_argument("word", nargs="?", default="", metavar="WORD")


def show_options(parser: ArgumentParser) -> None:
    """Print a recipe's header and resolved settings."""
    parser.add_argument("recipe")


def cp_options(parser: ArgumentParser) -> None:
    """Copy a shipped recipe to edit."""
    parser.add_argument("recipe")
    parser.add_argument("dest")


def ls(word: str) -> None:
    """Print the shipped recipes whose name or title holds ``word``."""
    rows = []
    for name, file in recipes.shipped().items():
        text = file.read_text()
        facts = recipes.facts(text)
        if word.lower() not in f"{name} {facts['title']}".lower():
            continue
        method, data = (_class_of(name, text, group) for group in ("model", "data"))
        expected = facts.get("measured") or facts.get("aims at", "")
        rows.append((name, method, data, facts.get("cost", ""), expected))
    if not rows:
        raise RecipeError(f"no recipe matches {word}", hint=nearest(word, recipes.shipped()))
    width = shutil.get_terminal_size((120, 20)).columns
    table = [("RECIPE", "METHOD", "DATA", "COST", "RESULT"), *rows]
    widths = [min(30, max(len(row[i]) for row in table)) for i in range(4)]
    for row in table:
        cells = "  ".join(cell[:w].ljust(w) for cell, w in zip(row, widths, strict=False))
        print(f"{cells}  {row[4]}"[: width if os.isatty(1) else None].rstrip())


def _class_of(name: str, text: str, group: str) -> str:
    """The class of a group: read off the text, or from what the recipe extends."""
    block = re.search(rf"^{group}:(.*?)(?=^\S|\Z)", text, re.M | re.S)
    named = re.search(r"class_path:\s*([\w.]+)", block[1]) if block else None
    path = named[1] if named else recipes.resolve([name]).config[group]["class_path"]
    return str(path).rpartition(".")[2]


def show(recipe: str) -> None:
    """Print a recipe's header and what it resolves to."""
    source, resolved = recipes.find(recipe), recipes.resolve([recipe])
    recipes.check_keys(resolved)
    if recipes.split(source.read_text(encoding="utf-8-sig"))[0]:
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
    head, text = recipes.split(source.read_text(encoding="utf-8-sig"))
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
