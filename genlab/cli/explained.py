"""Text of explanations: classes, arguments and their defaults, wrapped to the terminal."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import yaml

from genlab import recipes
from genlab.describing import docstrings, keys, metrics, nested, source, usage
from genlab.describing.classes import Argument, Description
from genlab.describing.keys import Meaning
from genlab.describing.metrics import BETTER, Metric
from genlab.describing.source import Definition
from genlab.describing.values import Value, place
from genlab.files import step_of
from genlab.recipes import class_names
from genlab.recipes.class_names import PACKAGES
from genlab.run_files import FACTS, FILES, RunFile

KINDS = {
    "methods": "method", "data": "data", "callbacks": "callback", "networks": "network",
    "metrics": "metric", "losses": "loss", "augment": "augmentation", "optim": "optimiser",
}  # fmt: skip
PLACES = {"method": "model.NAME=VALUE", "data": "data.NAME=VALUE"}  # of arguments in a recipe
WIDEST = 100


def width() -> int:
    """Columns to wrap text to."""
    return min(WIDEST, shutil.get_terminal_size((WIDEST, 20)).columns)


def kind_of(definition: Definition) -> str:
    """The kind of a class: ``method``, ``callback`` ...; ``class`` of any other."""
    parts = definition.module.split(".")
    return KINDS.get(parts[1], "class") if len(parts) > 1 else "class"


def of_class(found: Description, others: Iterable[Definition] = ()) -> Iterator[str]:
    """Lines about a class or a function.

    Args:
        found: its description.
        others: further definitions of its name.
    """
    definition = found.definition
    kind = kind_of(definition)
    yield f"{definition.name}, {kind}, {definition.place}"
    yield from paragraphs(found.first and found.first + ".", 2)
    for paper in found.papers:
        yield from paragraphs(f"paper: {paper}", 2)
    yield from paragraphs(found.prose, 2)
    if found.arguments:
        yield ""
        yield "arguments" + (f", in a recipe {PLACES[kind]}" if kind in PLACES else "")
    for argument in found.arguments:
        yield from of_argument(argument)
    if logged := metrics.logged_by(definition):
        yield ""
        yield "logs"
    for (text, unit), same in groupby(logged, lambda one: (one.text, _unit(one))):
        yield f"  {', '.join(one.key for one in same)}: {unit}"
        yield from paragraphs(text, 6)
    named = usage.recipes_with(class_names.short(definition.path))
    if named:
        yield ""
        yield from paragraphs(f"recipes: {', '.join(named)}", 0, 4)
    if rest := [one.path for one in others if one.path != definition.path]:
        yield from paragraphs(f"also: {', '.join(rest)}", 0, 4)


def of_recipe(name: str) -> Iterator[str]:
    """Lines about a recipe: its head."""
    file = recipes.find(name)
    yield f"{recipes.name_of(file)}, recipe, {place(str(file.resolve()))}"
    yield from (f"  {line}".rstrip() for line in str(recipes.head(file)).splitlines())
    yield ""
    yield f"genlab show {name}: all settings; genlab explain {name} KEY: one of them"


def of_key(
    found: Sequence[Meaning], value: Value | None, named: Mapping[str, str]
) -> Iterator[str]:
    """Lines about a key of a recipe.

    Args:
        found: its meanings.
        value: its value in the recipe that is asked about; None without one.
        named: classes of that recipe.
    """
    yield found[0].key
    if value is not None:
        yield f"  in {value.recipe}: {valued(value, found)}"
    for meaning in found:
        if meaning.argument is None:
            yield from paragraphs(meaning.text, 2)
            yield from _below(meaning.key, named)
        else:
            yield f"  {', '.join(meaning.owners)}{declared(meaning.argument)}"
            yield from paragraphs(meaning.text or "not documented", 6)
    asked = {one.argument.name: one.argument for one in found if one.argument is not None}
    for name in asked:
        yield from _settings(name, named.get("encoder", ""))


def valued(value: Value, found: Sequence[Meaning]) -> str:
    """A key's value in a recipe and the file that sets it, or its default."""
    if value.known:
        text = yaml.safe_dump(value.value, default_flow_style=True, width=10**6).strip()
        text = text.removesuffix("...").strip()
        return f"{text}, set in {value.origin}"
    defaults = {one.argument.default for one in found if one.argument is not None}
    only = defaults.pop() if len(defaults) == 1 else None
    return f"not set; the default is {in_yaml(only)}" if only else "not set"


def of_metric(key: str, found: Sequence[Metric]) -> Iterator[str]:
    """Lines about a metric.

    Args:
        key: its key in a log.
        found: its definitions.
    """
    yield f"{key}, metric{f' {found[0].split}' if found[0].split else ''}"
    for one in found:
        yield f"  {one.owner.label}, {one.owner.place}: {_unit(one)}"
        yield from paragraphs(one.text, 6)


def _unit(metric: Metric) -> str:
    """Unit of a metric, and which way is better."""
    return metric.unit + (f"; {BETTER[metric.better]}" if metric.better else "")


def of_fact(name: str) -> Iterator[str]:
    """Lines about a key of run.json."""
    yield f"{name}, key of a run's run.json"
    yield from paragraphs(FACTS[name], 2)


def of_file(path: Path, found: RunFile) -> Iterator[str]:
    """Lines about a file or folder of a run.

    Args:
        path: its path; it need not exist.
        found: its description.
    """
    yield f"{found.name}, {'folder' if found.name.endswith('/') else 'file'} of a run"
    yield from paragraphs(found.text, 2)
    yield from paragraphs(f"written by {found.writer}", 2, 4)
    yield from paragraphs(f"read by {found.readers}", 2, 4)
    if os.path.isfile(path):
        about = path.stat()
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(about.st_mtime))
        step = step_of(path) if path.suffix == ".ckpt" else -1
        at = f", of step {step:,}" if step >= 0 else ""
        yield f"  {path}: {about.st_size:,} bytes, written {when}{at}"


def of_run(run: Path) -> Iterator[str]:
    """Lines about a run directory: its files."""
    yield f"{run}, run of {recipes.name_of(run / 'recipe.yaml')}"
    for one in FILES:
        pattern = re.sub(r"<\w+>", "*", one.name.rstrip("/"))
        if any(run.glob(pattern)) and not one.name.startswith("."):
            yield from paragraphs(f"{one.name}: {one.text}", 2, 6)


def _below(key: str, named: Mapping[str, str]) -> Iterator[str]:
    """Keys of a group, or the classes that a group may name."""
    group = key.partition(".")[0]
    if group in PACKAGES and group not in named:
        for kind in keys.describe(group):
            yield from paragraphs(f"{kind.definition.name}: {kind.first}", 4, 8)
        return
    for kind in keys.describe(group, named):
        yield f"  {kind.definition.name}, {kind.definition.place}"
        for argument in kind.arguments:
            yield from (f"  {line}" for line in of_argument(argument))


def _settings(name: str, network: str) -> Iterator[str]:
    """Keys of an argument's settings, place by place."""
    for home in nested.places(name, network):
        listed = [one for one in nested.of_place(home) if one.text]
        if not listed:
            continue
        yield ""
        yield f"keys of {name}, {home.place}"
        for one in listed:
            yield from of_argument(one)
    if name == "callbacks":
        for path in class_names.classes("callbacks").values():
            if (kind := source.locate(path)) is not None:
                first = docstrings.parse(kind.docstring).first
                yield from paragraphs(f"{kind.name}: {first}", 2, 6)


def of_argument(argument: Argument) -> Iterator[str]:
    """Lines about an argument: name, type, default, meaning."""
    yield f"  {argument.name}{declared(argument)}"
    yield from paragraphs(argument.text or "not documented", 6)


def declared(argument: Argument) -> str:
    """Type and default of an argument, as a recipe writes them."""
    kind = f": {in_yaml(argument.annotation)}" if argument.annotation else ""
    return kind + ("" if argument.default is None else f" = {in_yaml(argument.default)}")


def in_yaml(text: str) -> str:
    """A type or value of Python as a recipe writes it: ``null``, ``true``, ``[256, 64]``."""
    text = re.sub(r"\b(?:Sequence|tuple|Mapping)\b", "list", text)
    text = re.sub(r"\bdict\[str, Any\]", "mapping", text)
    text = re.sub(r"\bLiteral\[([^\]]*)\]", lambda hit: hit[1].replace(", ", " or "), text)
    for python, word in {"None": "null", "True": "true", "False": "false"}.items():
        text = re.sub(rf"\b{python}\b", word, text)
    text = text.replace("field(default_factory=list)", "[]")
    text = re.sub(r"^\((.*?),?\)$", r"[\1]", text)
    return text.replace("'", "").replace(" | ", " or ")


def paragraphs(text: str, indent: int, later: int | None = None) -> Iterator[str]:
    """Text wrapped and indented; items of lists keep their own lines.

    Args:
        text: a docstring's text.
        indent: spaces before a line.
        later: spaces before all lines but the first; None for the same.
    """
    first, rest = " " * indent, " " * (indent if later is None else later)
    for block in _blocks(docstrings.plain(text)):
        hang = "  " if block.startswith("- ") else ""
        yield from textwrap.wrap(
            block, width(), initial_indent=first, subsequent_indent=rest + hang,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def _blocks(text: str) -> list[str]:
    """Paragraphs and items of lists, each on one line."""
    blocks, last = list[str](), ""
    for line in text.splitlines():
        stripped = line.strip()
        apart = not last or stripped.startswith(("- ", "* ", ">>>", "..."))
        if stripped and (apart or not blocks):
            blocks.append(stripped)
        elif stripped:
            blocks[-1] += " " + stripped
        last = stripped
    return blocks
