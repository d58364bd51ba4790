"""Tables of arguments and of logged metrics, from docstrings."""

from __future__ import annotations

import re
from collections.abc import Iterable

from docs.builder.markdown import code, linked, table
from genlab.cli.wording import in_yaml
from genlab.describing import classes, nested
from genlab.describing.classes import Argument
from genlab.describing.metrics import Metric
from genlab.describing.source import Definition

REST = re.compile(r"^( *)- ", re.M)


def arguments(one: Definition, names: Iterable[str] | None = None) -> str:
    """Table of a class's arguments, inherited ones included; of ``names`` alone where given."""
    wanted = None if names is None else set(names)
    rows = [
        (code(a.name), _kind(a), _default(a), linked(_inline(a.text)))
        for a in classes.describe(one).arguments
        if (wanted is None or a.name in wanted) and not a.name.startswith("*")
    ]
    return table(("argument", "type", "default", "meaning"), rows)


def _inline(text: str) -> str:
    """A documented text in one line; items of its lists follow each other."""
    return REST.sub("• ", text)


def _kind(argument: Argument) -> str:
    return code(in_yaml(argument.annotation))


def _default(argument: Argument) -> str:
    return "required" if argument.default is None else code(in_yaml(argument.default))


def logged(found: Iterable[Metric]) -> str:
    """Table of metrics: key, unit, better direction, definition, and what logs it."""
    rows = [
        (code(one.key), one.unit, one.better, linked(_inline(one.text)), _home(one.owner))
        for one in found
    ]
    return table(("key", "unit", "better", "definition", "logged by"), rows)


def settings(argument: str) -> str:
    """Table of the keys inside an argument's settings; a key of several networks once for each."""
    rows = [
        (code(a.name), _kind(a), _default(a), linked(_inline(a.text)), code(a.owner.name))
        for a in nested.settings(argument)
    ]
    return table(("key", "type", "default", "meaning", "of"), rows)


def _home(owner: Definition) -> str:
    """The class or function that logs a metric; the module of a private one."""
    if owner.name.startswith("_"):
        return code(owner.module.removeprefix("genlab."))
    return code(owner.name)
