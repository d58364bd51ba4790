"""Keys of a recipe: meaning of each, which class it belongs to, its type and default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from genlab.describing import classes, nested, source
from genlab.describing.classes import Argument, Description
from genlab.errors import RecipeError, nearest
from genlab.recipes import class_names
from genlab.recipes.class_names import PACKAGES

TOP = {
    "seed_everything": "Seed of every generator: weights, orders, augmentation. False draws no seed"
    " and leaves the generators as they are; true draws one and records it.",
    "data": "The images: `class_path` names a data class, `init_args` its arguments. In short"
    " `data=MNIST` and `data.batch_size=64`.",
    "model": "The method: `class_path` names it, `init_args` its arguments. In short `model=SimCLR`"
    " and `model.temperature=0.2`.",
    "trainer": "Arguments of Lightning's Trainer: length, devices, precision, callbacks.",
    "checkpoint": "Choice and age of the checkpoints that a run keeps.",
    "track": "Folder of runs, Weights & Biases, the test after training, answers to"
    " steps that are not finite.",
}
OF_CLASS = {
    "class_path": "Class of the {group}: the short name of one of genlab's or of a plugin's, or the"
    " dotted name of any.",
    "init_args": "Arguments of the {group}'s class; `{group}.NAME` means `{group}.init_args.NAME`.",
}
GROUPS = {  # classes whose arguments are the keys of a group
    "trainer": "lightning.pytorch.trainer.trainer.Trainer",
    "checkpoint": "genlab.training.engine.checkpointing.Checkpoints",
    "track": "genlab.training.tracking.settings.Tracking",
}
OPTIMIZER = ("lr", "weight_decay")  # keys of a model that mean its optimiser's


@dataclass(frozen=True)
class Meaning:
    """A meaning of a key.

    Args:
        key: the key in its short form: ``model.optimizer.lr``.
        text: the meaning in prose.
        argument: the argument that it is; None for a group or a class.
        owners: short names of the classes that document it so.
        kind: the class that it is; None for a group or an argument.
    """

    key: str
    text: str
    argument: Argument | None = None
    owners: tuple[str, ...] = ()
    kind: source.Definition | None = None


def is_key(word: str) -> bool:
    """True if a word begins as a key of a recipe does."""
    return word.partition(".")[0] in TOP


def meanings(key: str, named: Mapping[str, str] | None = None) -> list[Meaning]:
    """Meanings of a key, one for each group of classes that document it alike.

    Args:
        key: ``model.temperature``, ``data.views.blur``, ``trainer.callbacks.EMAWeights.decay`` ...
        named: classes of ``model`` and ``data``, and names of the ``encoder`` and ``optimizer``,
            where a recipe says them; else those of all are given.

    Raises:
        RecipeError: an unknown key, with the nearest.
    """
    named = named or {}
    group, *inner = [part.rstrip("+") for part in key.split(".")]
    if group not in TOP:
        raise RecipeError(f"unknown key {key}", hint=nearest(group, TOP))
    if inner[:1] == ["init_args"] and group in PACKAGES and inner[1:]:
        inner = inner[1:]
    if not inner:
        return [Meaning(group, TOP[group])]
    if group in PACKAGES and inner[0] in OF_CLASS and not inner[1:]:
        return [Meaning(f"{group}.{inner[0]}", OF_CLASS[inner[0]].format(group=group))]
    if (group, inner[0]) == ("trainer", "callbacks") and inner[1:]:
        return _of_callback(key, inner[1:])
    if group == "model" and inner[0] in OPTIMIZER and not _own(group, inner[0], named):
        inner = ["optimizer", *inner]
    found = _own(group, inner[0], named)
    if not found:
        known = set(names(group, named))
        raise RecipeError(f"unknown key {key}", _place(group, named), nearest(inner[0], known))
    for depth, part in enumerate(inner[1:], 1):
        above = ".".join([group, *inner[:depth]])
        found = _deeper(above, part, found, named)
    return _grouped(".".join([group, *inner]), found)


def _place(group: str, named: Mapping[str, str]) -> str:
    return named.get(group) or {"model": "every method", "data": "every data class"}.get(group, "")


def describe(group: str, named: Mapping[str, str] | None = None) -> list[Description]:
    """Descriptions of the classes whose arguments are the keys of a group, see `meanings`."""
    if group not in PACKAGES:
        paths: Iterable[str] = [GROUPS[group]] if group in GROUPS else []
    else:
        known = class_names.classes(PACKAGES[group])
        only = (named or {}).get(group)
        paths = known.values() if only is None else [known.get(only, only)]
    found = (source.locate(path) for path in paths)
    return [classes.describe(one) for one in found if one is not None]


def names(group: str, named: Mapping[str, str] | None = None) -> list[str]:
    """Names of a group's keys, without those inside settings."""
    if group in PACKAGES and group not in (named or {}):  # at once, without a description of each
        every = class_names.classes(PACKAGES[group]).values()
        known = [class_names.parameters(group, path) for path in every]
        if None not in known:
            return sorted({name for one in known for name in one or ()})
    found = [one.name for kind in describe(group, named) for one in kind.arguments]
    return list(dict.fromkeys(name for name in found if not name.startswith("*")))


def spelled(name: str) -> list[str]:
    """Keys that end in a name: ``model.optimizer.lr_batch`` for ``lr_batch``."""
    found: list[str] = []
    if source.argued(name):
        found += [f"{group}.{name}" for group in TOP if name in names(group)]
        for argument, group in nested.HOLDERS.items():
            if any(one.name == name for one in nested.settings(argument)):
                found.append(f"{group}.{argument}.{name}")
    if not found and nested.of_optimizers(name):
        found.append(f"model.optimizer.{name}")
    return found


def _own(group: str, name: str, named: Mapping[str, str]) -> list[tuple[str, Argument]]:
    """The argument of a name with each class of a group that has it."""
    pairs = ((kind.definition, kind.argument(name)) for kind in describe(group, named))
    return [(definition.label, one) for definition, one in pairs if one is not None]


def _deeper(
    above: str, part: str, found: list[tuple[str, Argument]], named: Mapping[str, str]
) -> list[tuple[str, Argument]]:
    """Meanings of a key inside the settings of an argument."""
    inner: dict[tuple[str, str], tuple[str, Argument]] = {}
    for _, argument in found:
        for one in nested.inside(argument, part, nested.chosen(argument.name, named)):
            inner.setdefault((one.owner.path, one.text), (one.owner.label, one))
    if not inner:
        names = {argument.name for _, argument in found}
        known = {one.name for name in names for one in nested.settings(name) + nested.further(name)}
        raise RecipeError(f"unknown key {above}.{part}", hint=nearest(part, known))
    return list(inner.values())


def _of_callback(key: str, inner: list[str]) -> list[Meaning]:
    """Meanings of ``trainer.callbacks.CLASS.ARGUMENT``."""
    known = class_names.classes("callbacks")
    if inner[0] not in known:
        raise RecipeError(f"unknown key {key}", "trainer.callbacks", nearest(inner[0], known))
    return of_argument(known[inner[0]], [one for one in inner[1:] if one != "init_args"], key)


def of_argument(path: str, inner: list[str], key: str) -> list[Meaning]:
    """The meaning of an argument of a class, or of the class where ``inner`` is empty.

    Raises:
        RecipeError: it has none of that name.
    """
    definition = source.locate(path)
    assert definition is not None
    found = classes.describe(definition)
    if not inner:
        return [Meaning(key, found.first, kind=definition)]
    argument = found.argument(inner[0])
    if argument is None or inner[1:]:
        known = [one.name for one in found.arguments]
        raise RecipeError(f"{definition.name} has no argument {'.'.join(inner)}", definition.place,
                          nearest(inner[0], known))  # fmt: skip
    return [Meaning(key, argument.text, argument, (definition.name,))]


def _grouped(key: str, found: list[tuple[str, Argument]]) -> list[Meaning]:
    """Meanings of the same text, type and default together."""
    same: dict[tuple[str, str, str | None], list[tuple[str, Argument]]] = {}
    for owner, one in found:
        same.setdefault((one.text, one.annotation, one.default), []).append((owner, one))
    return [
        Meaning(key, ones[0][1].text, ones[0][1], tuple(owner for owner, _ in ones))
        for ones in same.values()
    ]
