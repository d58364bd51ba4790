"""Lines that `explain` prints about a class, a command, a key, a metric, a recipe or a file."""

from __future__ import annotations

import ast
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import yaml

from genlab import recipes
from genlab.cli import EXAMPLES, candidates
from genlab.cli.wording import declared, in_yaml, paragraphs
from genlab.describing import classes, docstrings, keys, metrics, nested, source, usage
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
NAMED = ("methods", "data", "callbacks")  # whose other classes are their own helpers
PLACES = {"method": "model.NAME=VALUE", "data": "data.NAME=VALUE"}  # of arguments in a recipe


def kind_of(definition: Definition) -> str:
    """The kind of a definition: ``method``, ``function`` ...; ``class`` of a helper."""
    if group := source.group(definition):
        return KINDS[group]
    if isinstance(definition.node, ast.FunctionDef):
        return "function"
    package = definition.module.split(".")[1:2]
    return "class" if not package or package[0] in NAMED else KINDS.get(package[0], "class")


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


def of_command(name: str) -> Iterator[str]:
    """Lines about a command of the program: what its help says, how it is called, its options."""
    options, usage = candidates.options(name), rf"^  genlab (?:[\w |]+ )?{name}\b.*"
    definition = candidates.definition(name)
    about = docstrings.parse(definition.docstring)
    yield f"{name}, command, {definition.place}"
    yield from paragraphs(about.first + ".", 2)
    yield from paragraphs(about.prose, 2)
    yield from re.findall(usage, EXAMPLES, re.M)
    yield from paragraphs(f"options: {', '.join(options)}", 2, 4)
    yield f"  genlab {name} --help: what each means"


def of_family(name: str, names: Iterable[str]) -> Iterator[str]:
    """Lines about a family of recipes: each with its title."""
    yield f"{name}, family of recipes, recipes/{name}/"
    for one in names:
        yield from paragraphs(f"{one}: {recipes.head(recipes.find(one)).title}", 2, 6)
    yield f"genlab ls --family {name}: their costs and results"


def of_encoder(name: str, made_by: Definition) -> Iterator[str]:
    """Lines about the name of an encoder: how a recipe names it, and what makes it."""
    yield f"{name}, encoder: model.encoder={name}"
    yield f"  {made_by.name}, {made_by.place}"
    yield from paragraphs(docstrings.parse(made_by.docstring.strip()).first, 2)
    yield "keys of model.encoder_kwargs: genlab explain model.encoder_kwargs"


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
        if meaning.kind is not None:
            yield from of_class(classes.describe(meaning.kind))
        elif meaning.argument is None:
            yield from paragraphs(meaning.text, 2)
            yield from _below(meaning.key, named)
        else:
            yield f"  {', '.join(meaning.owners)}{declared(meaning.argument)}"
            yield from paragraphs(meaning.text or "not documented", 6)
    asked = {one.argument.name: one.argument for one in found if one.argument is not None}
    for name in asked:
        yield from _settings(name, nested.chosen(name, named))


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


def _settings(name: str, only: str) -> Iterator[str]:
    """Keys of an argument's settings, place by place."""
    for home in nested.places(name, only):
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
