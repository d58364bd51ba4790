"""Arguments of one class, checked by jsonargparse against the types that its constructor names."""

from __future__ import annotations

import argparse
import copy
import enum
import inspect
import re
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from genlab.errors import RecipeError, first_line, nearest
from genlab.recipes import Recipe, check, without_credentials
from genlab.training.refusals import place


@dataclass
class Arguments:
    """Checked arguments of one class, defaults included.

    Args:
        plain: every argument with its value, as a recipe writes it.
    """

    group: str
    plain: dict[str, Any]
    _parser: ArgumentParser
    _parsed: Namespace

    def made(self) -> dict[str, Any]:
        """The arguments with the objects that a ``class_path`` among them names."""
        parser = self._parser  # jsonargparse renamed it in 4.49
        make = getattr(parser, "instantiate", None) or parser.instantiate_classes
        return dict(make(self._parsed).get(self.group) or {})


_seen: ContextVar[dict[Any, Arguments] | None] = ContextVar("_seen", default=None)


@contextmanager
def remembered() -> Iterator[None]:
    """Parse equal arguments once inside this block, in which a recipe is built many times."""
    token = _seen.set({})
    try:
        yield
    finally:
        _seen.reset(token)


def parse(kind: type, group: str, given: dict[str, Any], recipe: Recipe) -> Arguments:
    """Check a class's arguments and fill in its defaults, see `remembered`.

    Args:
        kind: the class; it is not called.
        group: place of the arguments in the recipe, such as ``model``.
        given: arguments that the recipe sets.
        recipe: names the files in messages.

    Raises:
        RecipeError: an unknown or missing argument, a wrong type.
    """
    seen, key = _seen.get(), (kind, group, repr(given), recipe.trusted)
    if seen is None:
        return _parse(kind, group, given, recipe)
    if key not in seen:
        seen[key] = _parse(kind, group, given, recipe)
    return replace(seen[key], plain=copy.deepcopy(seen[key].plain))


@lru_cache(256)
def _parser(kind: type, group: str) -> tuple[ArgumentParser, tuple[str, ...]]:
    """The parser of a class's arguments, and their names; to make it takes longer than to parse."""
    parser = ArgumentParser(exit_on_error=False)
    names = parser.add_class_arguments(kind, group, fail_untyped=False, instantiate=False)
    return parser, tuple(name.partition(".")[2] for name in names)


def _parse(kind: type, group: str, given: dict[str, Any], recipe: Recipe) -> Arguments:
    parser, valid = _parser(kind, group)
    for key in given:
        if key not in valid:
            what = f"{kind.__name__} has no argument {key}"
            raise RecipeError(what, place(recipe, group, key), nearest(key, valid))
    _check_nulls(kind, group, given, recipe)
    if recipe.trusted is not None:
        _check_functions(kind, given, recipe.trusted)
    try:
        parsed = parser.parse_object({group: copy.deepcopy(given)})  # parsing changes it
    except argparse.ArgumentError as error:
        raise _explained(error, kind, group, given, recipe) from None
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError) as error:
        what = f"{group}: a value cannot be read: {first_line(error)}"  # of a string's YAML tag
        raise RecipeError(what, f"{recipe.origin(group)}, {group}") from None
    found = plain(parsed.get(group) or {})  # a constructor may have no arguments
    check(found, recipe.trusted)  # again: parsing turns strings into mappings
    return Arguments(group, found, parser, parsed)


def _check_nulls(kind: type, group: str, given: dict[str, Any], recipe: Recipe) -> None:
    """Refuse null for an argument that takes none; jsonargparse lets it pass."""
    known, hints = parameters(kind), _hints(kind)
    for key in (key for key, value in given.items() if value is None and key in hints):
        optional = key not in known or known[key].default is None
        if not optional and not _takes_null(hints[key]):
            takes = _spelled(hints[key])
            raise RecipeError(f"{group}.{key} must be {takes}, not null", place(recipe, group, key))


def _takes_null(annotation: Any) -> bool:
    """True if None, or anything, is of a type."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(_takes_null(part) for part in typing.get_args(annotation))
    return annotation in (types.NoneType, None, Any, object)


def _check_functions(kind: type, given: dict[str, Any], trusted: frozenset[str]) -> None:
    """Refuse a function that a file names for an argument which takes one."""
    for key, annotation in _hints(kind).items():
        value = given.get(key)
        if "Callable" in str(annotation) and isinstance(value, str):
            check({"class_path": value}, trusted)


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    """A constructor's parameters by name, with those that ``**kwargs`` hands to its bases."""
    found: dict[str, inspect.Parameter] = {}
    for owner in kind.__mro__:
        if "__init__" not in vars(owner):
            continue
        own = inspect.signature(owner.__init__).parameters  # type: ignore[misc]
        found |= {k: v for k, v in own.items() if k not in found}
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
    return found


def plain(value: Any) -> Any:
    """Parsed settings as in YAML: mappings, lists, strings and numbers."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, enum.Enum):
        return value.name
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _explained(
    error: argparse.ArgumentError,
    kind: type,
    group: str,
    given: dict[str, Any],
    recipe: Recipe,
) -> RecipeError:
    """Explain a refusal by jsonargparse: the key, what it must be, what it is."""
    found = re.match(r'Parser key "([\w.]+)"', str(error))
    if found is None:  # an argument is missing
        return RecipeError(f"{group}: {first_line(error)}", f"{recipe.origin(group)}, {group}")
    key = found[1].partition(".")[2].partition(".")[0]
    where = place(recipe, group, key)
    causes = list(_causes(error))[1:]
    inner = [e for e in causes if isinstance(e, argparse.ArgumentError | ImportError)]
    if inner:  # about a class that the value names
        return RecipeError(f"{group}.{key}: {' '.join(str(inner[0]).split())}", where)
    takes = _spelled(_hints(kind)[key])
    shown = without_credentials(given.get(key))
    return RecipeError(f"{group}.{key} must be {takes}, not {shown!r}", where)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _hints(kind: type) -> dict[str, Any]:
    """Annotations of a class's constructor and of those of its bases."""
    found: dict[str, Any] = {}
    for owner in reversed(kind.__mro__):
        if "__init__" in vars(owner):
            found |= typing.get_type_hints(owner.__init__)  # type: ignore[misc]
    return found


def _spelled(annotation: Any) -> str:
    """A type as a user reads it: ``int or null``, ``one of ['min', 'max']``, ``list[int]``."""
    parts = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return " or ".join(_spelled(part) for part in parts)
    if typing.get_origin(annotation) is typing.Literal:
        return f"one of {list(parts)}"
    if annotation is types.NoneType:
        return "null"
    if isinstance(annotation, type) and not parts:
        return annotation.__name__
    return re.sub(r"\b(?:\w+\.)+", "", str(annotation)).replace("Sequence", "list")
