"""Recipe files: their places, names and text."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from genlab.errors import RecipeError, RunError, first_line, nearest, reason
from genlab.files import text_of
from genlab.internals.python_parts import drop_resolver
from genlab.recipes import plugins

MOST_VALUES = 100_000  # of one recipe, aliases written out
KEYS = (str, int)  # words, and the epochs of a schedule
NAME = re.compile(r"[\w./-]+")  # of a recipe, and so of a folder of runs


def root() -> Path:
    """The folder of shipped recipes: inside the installed package, or next to it in a checkout."""
    packaged = Path(__file__).parents[1] / "_share" / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "recipes"


def shipped() -> dict[str, Path]:
    """Every recipe of genlab's and of plugins by its name, ``vae/mnist``; genlab's come first.

    Base files at the top are none, nor is a ``sweep.yaml``, which is for W&B's own sweeps.
    """
    found: dict[str, Path] = {}
    for place in (root(), *plugins.recipe_folders()):
        for file in sorted(place.glob("*/*.yaml")):
            if file.name != "sweep.yaml":
                found.setdefault(file.relative_to(place).with_suffix("").as_posix(), file)
    return found


def find(word: str | Path) -> Path:
    """The file that a path, a run directory or a shipped name means.

    Raises:
        RecipeError: there is none.
    """
    path = Path(word)
    if not str(word):
        raise RecipeError("the recipe's name is empty", hint="genlab ls lists what there is")
    if os.path.isfile(path / "recipe.yaml"):
        return path / "recipe.yaml"
    if os.path.isfile(path):
        return path
    name = str(word).removesuffix(".yaml").removeprefix("recipes/")
    for place in (root(), *plugins.recipe_folders()):
        if os.path.isfile(place / f"{name}.yaml"):
            return place / f"{name}.yaml"
    what = f"no recipe {word}" if not os.path.isdir(path) else f"{word} is a folder, not a recipe"
    inside = [one for one in shipped() if one.startswith(f"{name.rstrip('/')}/")]
    raise RecipeError(what, hint=nearest("", inside) if inside else nearest(name, shipped()))


def refuse_untrained(word: str | Path, runs: str | Path = "runs") -> None:
    """Refuse a shipped recipe's name in the place of a run where it has none; all else passes.

    Args:
        word: name of a run.
        runs: folder of all run directories.

    Raises:
        RunError: says how to train it.
    """
    name, folder = str(word), Path(runs, word)
    known = os.path.exists(name) or name not in shipped() or any(folder.glob("*/recipe.yaml"))
    if not known:
        raise RunError(f"no run of {name} yet: genlab fit {name}")


def name_of(file: Path) -> str:
    """``vae/mnist`` for a shipped recipe or a run of it, the file's stem for your own.

    Raises:
        RecipeError: a run's recipe whose name would lead out of the folder of runs.
    """
    file = file.resolve()
    for place in (root().resolve(), *(folder.resolve() for folder in plugins.recipe_folders())):
        if file.is_relative_to(place):
            return file.relative_to(place).with_suffix("").as_posix()
    if file.name == "recipe.yaml" and (
        found := re.match(r"# genlab run of (\S+)", file.read_text())
    ):
        if found[1].startswith("/") or ".." in found[1].split("/"):
            raise RecipeError(f"{found[1]!r} is not the name of a recipe", f"{file}, line 1")
        return found[1] if NAME.fullmatch(found[1]) else file.stem
    return file.stem


def header(text: str) -> str:
    """The comment block that opens a recipe, without its ``#``."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# genlab run of "):  # a run's own line, see `resolution.dump`
            lines.append(line[1:].removeprefix(" "))
    return "\n".join(lines)


def facts(text: str) -> dict[str, str]:
    """The ``Key: value`` lines of a recipe's header, and its first line as ``title``."""
    lines = header(text).splitlines()
    pairs = (re.match(r"([A-Z][\w ]*):\s+(.*)", line) for line in lines)
    return {"title": lines[0] if lines else ""} | {m[1].lower(): m[2] for m in pairs if m}


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML with three fixes: ``1e-3`` is a number, ``off`` a string, a repeated key an error."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                what = "a key must be a word, not a list or a mapping"
            elif key.value in seen:
                what = f"key {key.value!r} is given twice"
            else:
                seen.add(key.value)
                continue
            raise yaml.constructor.ConstructorError(None, None, what, key.start_mark)
        return super().construct_mapping(node, deep=deep)


BOOL = "tag:yaml.org,2002:bool"
drop_resolver(_Loader, BOOL)
_Loader.add_implicit_resolver(
    BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def parse(text: str, where: str) -> Any:
    """YAML text to plain data.

    Raises:
        RecipeError: not YAML; says the line.
    """
    try:
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        what = str(getattr(error, "problem", None) or first_line(error))
        raise RecipeError(f"not YAML: {what}", where + line) from None
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise RecipeError(f"not YAML: {first_line(error)}", where) from None  # of a tag's own type
    _check_plain(content, where)
    return content


def _check_plain(content: Any, where: str) -> None:
    """Refuse what no recipe holds: dates, bytes and sets; odd keys; aliases without end.

    Raises:
        RecipeError: the first of them.
    """
    waiting, seen = [content], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            what = f"more than {MOST_VALUES:,} values: aliases in a circle, or of aliases?"
            raise RecipeError(what, where)
        if isinstance(node, dict):
            if odd := [key for key in node if isinstance(key, bool) or not isinstance(key, KEYS)]:
                raise RecipeError(f"{odd[0]!s} is not a key: put it in quotes", where)
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
        elif not isinstance(node, str | int | float | None):
            kind = type(node).__name__
            raise RecipeError(f"{node!s} is a {kind} in YAML: put it in quotes", where)


def read(file: Path) -> dict[str, Any]:
    """A recipe file as a mapping, nothing merged yet."""
    try:
        content = parse(text_of(file), str(file))
    except UnicodeDecodeError as error:
        raise RecipeError(f"cannot read {file}: {error.reason}: it is not UTF-8") from None
    except OSError as error:
        raise RecipeError(f"cannot read {file}: {reason(error)}") from None
    if not isinstance(content, dict):
        raise RecipeError("a recipe is a mapping of keys to values", str(file))
    return content
