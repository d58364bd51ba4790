"""Recipes resolved: files and arguments merged into one mapping, and pre-checked.

A recipe is plain YAML with the grammar of LightningCLI. ``config: FILE`` extends another recipe:
mappings merge deeply, the child wins, ``key+:`` appends to a list, another ``class_path`` drops the
arguments of the class it replaces. Arguments ``key=value`` of the command line merge in the same
way, last.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from genlab.errors import RecipeError, nearest
from genlab.recipes import doors, trust
from genlab.recipes.class_names import PACKAGES, class_path, current, named, parameters, short
from genlab.recipes.class_names import classes as classes_of
from genlab.recipes.files import find, header, name_of, read, shipped
from genlab.recipes.switching import carry_over, keep_preset
from genlab.recipes.typed import COMMAND_LINE, GROUPS, SETTINGS, word_to_mapping

TOP_KEYS = ("seed_everything", "data", "model", "trainer", "checkpoint", "track")


@dataclass
class Recipe:
    """A resolved recipe: one mapping, and for every key the file that set it.

    ``trusted`` is None where the user wrote the recipe; for one from inside a file it holds the
    classes that it may name besides genlab's. ``loaded`` holds those of others that it has loaded.
    """

    name: str
    header: str
    config: dict[str, Any]
    origins: dict[str, str] = field(default_factory=dict)
    outdated: set[str] = field(default_factory=set)  # encoder_kwargs given for another encoder
    notes: list[str] = field(default_factory=list)
    trusted: frozenset[str] | None = None
    loaded: set[str] = field(default_factory=set)

    def origin(self, key: object) -> str:
        """The file (or the command line) that set ``key`` or, failing that, its group."""
        path = str(key)
        while path and path not in self.origins:
            path = path.rpartition(".")[0]
        return self.origins.get(path, self.name)

    def arguments(self, group: str) -> dict[str, Any]:
        """The ``init_args`` of ``model`` or ``data``."""
        found = self.config[group].get("init_args")
        return found if isinstance(found, dict) else {}

    @property
    def runs(self) -> Path:
        """The folder of all runs, ``track.runs``; ``~`` is the user's home.

        Raises:
            RecipeError: not a path.
        """
        place = (self.config.get("track") or {}).get("runs", "runs")
        if not isinstance(place, str) or not place:
            raise RecipeError("track.runs is not a folder", self.origin("track.runs"))
        return Path(os.path.expanduser(place))


def lineage(file: Path, below: tuple[Path, ...] = ()) -> list[tuple[Path, dict[str, Any]]]:
    """A file and all that it extends, the most basic first."""
    file = file.resolve()
    if file in below:
        raise RecipeError("recipes extend each other in a circle", f"{below[-1]} and {file}")
    content = read(file)
    base = content.pop("config", None)
    if base is None:
        return [(file, content)]
    relative = file.parent / str(base)
    try:
        target = relative if os.path.isfile(relative) else find(str(base))
    except RecipeError:
        raise RecipeError(f"config: {base} does not exist", str(file)) from None
    return [*lineage(target, (*below, file)), (file, content)]


def _grouped(key: str, value: Any) -> Any:
    """``model: VAE`` and ``model: {lr: 1}`` in their long form, with the class path spelt out."""
    if isinstance(value, str):
        value = {"class_path": value}
    if not isinstance(value, dict):
        raise RecipeError(f"{key} must name a class or its arguments, not {value!r}")
    arguments = {k: v for k, v in value.items() if k not in ("class_path", "init_args")}
    short = value.get("class_path")
    named = {"class_path": class_path(key, str(short))} if short is not None else {}
    inner = value.get("init_args") or {}
    if not isinstance(inner, dict):
        raise RecipeError(f"{key}.init_args must be a mapping, not {inner!r}")
    return named | {"init_args": inner | arguments}


def merge(base: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    """``child`` over ``base``, deeply; neither is changed.

    ``key+`` appends to a list; a mapping with another ``class_path`` than the base's replaces the
    base's ``init_args``.
    """
    merged = dict(base)
    for key, value in child.items():
        if isinstance(key, str) and key.endswith("+"):
            plain, more = key[:-1], value if isinstance(value, list) else [value]
            if not isinstance(old := merged.get(plain), list | None):
                raise RecipeError(f"{key} appends to a list, and {plain} is {old!r}")
            merged[plain] = [*(old or []), *more]
        elif isinstance(value, dict) and isinstance(old := merged.get(key), dict):
            other = "class_path" in value and value["class_path"] != old.get("class_path")
            kept = {k: v for k, v in old.items() if k != "init_args"} if other else old
            merged[key] = merge(kept, value)
        else:
            merged[key] = merge({}, value) if isinstance(value, dict) else value
    return merged


def _leaves(node: dict[str, Any], prefix: str = "") -> Iterable[str]:
    for key, value in node.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")


def resolve(words: Iterable[str | Path], overrides: Iterable[str] = ()) -> Recipe:
    """One recipe from files (later over earlier) and ``key=value`` arguments.

    A run directory is data: its recipe may name what `doors` admits from a file.

    Raises:
        RecipeError: see `find`, `parse`, `check_keys`; a missing base; a circle; a class that a
            run directory names and nobody trusts.
    """
    words = list(words)
    files = [find(word) for word in words]
    if not files:
        raise RecipeError("no recipe is given", hint=nearest("", shipped()))
    layers: dict[str, dict[str, Any]] = {}
    for word, file in zip(words, files, strict=True):
        for source, content in lineage(file):
            layers.setdefault(str(source), content)
            if os.path.isdir(word):
                doors.check(content, trust.of(Path(word)))
    recipe = Recipe(name_of(files[0]), header(files[0].read_text()), {})
    for where, content in layers.items():
        lay(recipe, content, where)
    before = dict(recipe.config)
    for content in sorted(map(word_to_mapping, overrides), key=_names_no_class):
        lay(recipe, content, COMMAND_LINE)
    carry_over(recipe, before)
    expand_callbacks(recipe)
    _hand_to_optimizer(recipe)
    named(recipe.config)  # strings too, which the parser of arguments reads as YAML
    return recipe


def _names_no_class(content: dict[str, Any]) -> bool:
    """False for ``data=CLASS`` and its like, which settings before it are meant for too."""
    (group, value), *_ = content.items()
    is_class = isinstance(value, str) or (isinstance(value, dict) and "class_path" in value)
    return group not in PACKAGES or not is_class


def _hand_to_optimizer(recipe: Recipe) -> None:
    """``model.lr`` and ``model.weight_decay`` mean the optimiser's, where the method has one."""
    model = recipe.config.get("model") or {}
    arguments, valid = model.get("init_args"), parameters("model", str(model.get("class_path")))
    if not arguments or not valid or "optimizer" not in valid:
        return
    if not isinstance(arguments.get("optimizer"), dict | None):
        return  # its class refuses it
    for name in {"lr", "weight_decay"} & (arguments.keys() - valid):
        value = arguments.pop(name)
        arguments["optimizer"] = (arguments.get("optimizer") or {}) | {name: value}
        origin = recipe.origin(f"model.init_args.{name}")
        recipe.origins[f"model.init_args.optimizer.{name}"] = origin


def lay(recipe: Recipe, content: dict[str, Any], where: str) -> None:
    """Merge one file's or word's content over what is there, and remember who set what."""
    try:
        _check_groups(content)
        long = {k: _grouped(k, v) if k in PACKAGES else v for k, v in content.items()}
        keep_preset(recipe, long)
        merged = merge(recipe.config, long)
    except RecipeError as error:
        what, _, hint = str(error).partition("\n")
        raise RecipeError(what, where, hint) from None
    _note_outdated(recipe, long, where)
    recipe.config = merged
    recipe.origins.update({key.replace("+", ""): where for key in _leaves(long)})


def _check_groups(content: dict[str, Any]) -> None:
    """Refuse a group of settings that is none.

    Raises:
        RecipeError: it is empty, a value, or appended to.
    """
    for key, value in content.items():
        group = str(key).rstrip("+")
        if group in GROUPS and group != key:
            raise RecipeError(f"{key} appends to a list, and {group} is a mapping: write {group}")
        if key in SETTINGS and not isinstance(value, dict):
            raise RecipeError(f"{key} must be a mapping of settings, not {value!r}")


def _note_outdated(recipe: Recipe, long: dict[str, Any], where: str) -> None:
    """Remember which ``encoder_kwargs`` were given for an encoder that is now another one."""
    old = (recipe.config.get("model") or {}).get("init_args") or {}
    new = (long.get("model") or {}).get("init_args") or {}
    if new.get("encoder") is not None and old.get("encoder") not in (None, new["encoder"]):
        given = _mapping(old.get("encoder_kwargs"))
        path = "model.init_args.encoder_kwargs"
        recipe.outdated |= {key for key in given if recipe.origin(f"{path}.{key}") != where}
    recipe.outdated -= _mapping(new.get("encoder_kwargs")).keys()


def _mapping(value: Any) -> dict[str, Any]:
    """A mapping as it is; for anything else, which its class will refuse, an empty one."""
    return value if isinstance(value, dict) else {}


def expand_callbacks(recipe: Recipe) -> None:
    """Short names of genlab's callbacks -> class paths; other names are jsonargparse's to find."""
    trainer = recipe.config.get("trainer")
    callbacks = trainer.get("callbacks") if isinstance(trainer, dict) else None
    if not isinstance(callbacks, list):
        return
    known = classes_of("callbacks")
    for position, item in enumerate(callbacks):
        name = item.get("class_path") if isinstance(item, dict) else item
        path = known.get(str(name)) or current(str(name))
        if path != name:
            callbacks[position] = (item if isinstance(item, dict) else {}) | {"class_path": path}


def _meant(recipe: Recipe, key: str) -> str:
    """The key that an unknown one may mean: an argument without its group, or the nearest."""
    paths = {group: (recipe.config.get(group) or {}).get("class_path") for group in PACKAGES}
    known = {group: parameters(group, path) or () for group, path in paths.items() if path}
    full = [f"{group}.{key}" for group, names in known.items() if key in names]
    return f"did you mean {' or '.join(full)}?" if full else nearest(key, TOP_KEYS)


def check_keys(recipe: Recipe) -> None:
    """Misspelt or missing keys, found before anything heavy is imported.

    Raises:
        RecipeError: the first one, with its file and the nearest valid name.
    """
    for key in recipe.config:
        if key not in TOP_KEYS:
            raise RecipeError(f"unknown key {key}", recipe.origin(key), _meant(recipe, key))
    for group in PACKAGES:
        path = recipe.config.get(group, {}).get("class_path")
        if path is None:
            raise RecipeError(f"the recipe names no {group} class", recipe.origin(group))
        valid = parameters(group, path)
        for key in recipe.arguments(group):
            if valid is not None and key not in valid:
                where = f"{recipe.origin(f'{group}.init_args.{key}')}, {group}.{key}"
                short = path.rpartition(".")[2]
                known = valid | ({"lr", "weight_decay"} if "optimizer" in valid else set())
                raise RecipeError(f"{short} has no argument {key}", where, nearest(key, known))


def dump(recipe: Recipe, config: dict[str, Any] | None = None) -> str:
    """The resolved recipe as a file that runs by itself."""
    lines = [
        f"# genlab run of {recipe.name}",
        *(f"# {line}".rstrip() for line in recipe.header.splitlines()),
    ]
    body = yaml.safe_dump(
        shortened(config or recipe.config), sort_keys=False, default_flow_style=None, width=100
    )
    return "\n".join(lines) + "\n" + body


def shortened(node: Any) -> Any:
    """A copy with short names for genlab's and plugins' classes, which no move breaks."""
    if isinstance(node, list):
        return [shortened(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: shortened(value) for key, value in node.items()}
    if isinstance(node.get("class_path"), str):
        plain["class_path"] = short(node["class_path"])
    return plain
