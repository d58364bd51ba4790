"""Recipe files: their places, names and text."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from genlab.errors import RecipeError, RunError, first_line, nearest, reason
from genlab.files import text_of
from genlab.internals.python_parts import drop_resolver
from genlab.recipes import heads, plugins
from genlab.recipes.heads import Head

MOST_VALUES = 100_000  # of one recipe, aliases written out
KEYS = (str, int)  # words, and the epochs of a schedule
COMPARING = ("studies", "tables")  # no recipes, but what compares them
FOLDERS = "imagenet100"  # data of the recipes that take any folder of pictures
NAME = re.compile(r"[\w./-]+")  # of a recipe, and so of a folder of runs


def root() -> Path:
    """The folder of shipped recipes: inside the installed package, or next to it in a checkout."""
    packaged = Path(__file__).parents[1] / "_share" / "recipes"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "recipes"


def shipped() -> dict[str, Path]:
    """Every recipe of genlab's and of plugins by its name, ``vae/mnist``; genlab's come first.

    Base files at the top are none, nor is a ``sweep.yaml``, which is for W&B's own sweeps, nor
    what lies in ``studies`` and ``tables``.
    """
    found: dict[str, Path] = {}
    for place in (root(), *plugins.recipe_folders()):
        for file in sorted(place.glob("*/*.yaml")):
            if file.name != "sweep.yaml" and file.parent.name not in COMPARING:
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
    method, _, data = name.partition("/")
    if data == "folder" and f"{method}/{FOLDERS}" in shipped():
        hint = f"your own pictures: {method}/{FOLDERS} data.root=DIR"
        raise RecipeError(what, hint=hint)
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


def split(text: str) -> tuple[str, str]:
    """Text of a recipe's head and of its settings; no head where there is one document."""
    for mark in re.finditer(r"^---(?=\s|\Z)[ \t]*\n?", text, re.M):  # never inside a YAML string
        head = text[: mark.start()]
        if re.search(r"^[^#%\s]", head, re.M):  # no comment, directive or blank line
            return head, text[mark.end() :]
    return "", text


def head(file: Path) -> Head:
    """Facts about a recipe; of a file without a head, those of its first comment lines.

    Raises:
        RecipeError: the file cannot be read, or its head is wrong.
    """
    text = _text(file)
    written = split(text)[0]
    if not written:
        first, _, rest = header(text).partition("\n")
        said = dict(re.findall(r"^(Aims at|Cost|Run):\s+(.*)", rest, re.M))
        return Head(
            first, (), said.get("Aims at", ""), cost=said.get("Cost", ""), run=said.get("Run", "")
        )
    return heads.checked(parse(written, str(file)), str(file))


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
    return _plain(where, lambda: yaml.load(text, Loader=_Loader))


def _documents(text: str, where: str) -> list[Any]:
    """The YAML documents of a text, the first three at most."""
    return list(_plain(where, lambda: [*islice(yaml.load_all(text, Loader=_Loader), 3)]))


def _plain(where: str, load: Callable[[], Any]) -> Any:
    try:
        content = load()
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
    """The settings of a recipe file as a mapping, nothing merged yet; its head is checked only."""
    documents = _documents(_text(file), str(file))
    if len(documents) > 2:
        what = "more than two YAML documents: a recipe is a head and its settings"
        raise RecipeError(what, str(file))
    if len(documents) == 2:
        heads.checked(documents[0], str(file))
    if not documents or documents[-1] is None:
        raise RecipeError("the recipe is empty", str(file))
    if not isinstance(documents[-1], dict):
        raise RecipeError("a recipe is a mapping of keys to values", str(file))
    settings: dict[str, Any] = documents[-1]
    return settings


def _text(file: Path) -> str:
    try:
        return text_of(file)
    except UnicodeDecodeError as error:
        raise RecipeError(f"cannot read {file}: {error.reason}: it is not UTF-8") from None
    except OSError as error:
        raise RecipeError(f"cannot read {file}: {reason(error)}") from None
