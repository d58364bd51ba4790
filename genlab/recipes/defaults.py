"""Defaults of constructors, read from source without an import."""

from __future__ import annotations

import ast
import re
from typing import Any

from genlab.recipes.class_names import owners

FROM_DATA = ("channels", "num_classes", "image_size")  # filled in where the recipe is silent


def without(package: str, path: str, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments without those that the constructor's defaults give, numbers as it takes them.

    Args:
        package: one of `class_names.ROOTS`.
        path: class path.
        given: arguments.
    """
    known, kept = of(package, path), {}
    for name, value in given.items():
        default, is_float = known.get(name, (Ellipsis, False))
        value = _number(value, is_float)
        same = default is not Ellipsis and _written(_number(default, is_float)) == _written(value)
        if not same or name in FROM_DATA:
            kept[name] = value
    return kept


def of(package: str, path: str) -> dict[str, tuple[Any, bool]]:
    """Each argument's default, and whether it is a float; ``...`` for what cannot be told.

    Args:
        package: one of `class_names.ROOTS`.
        path: class path.
    """
    found: dict[str, tuple[Any, bool]] = {}
    for _, node in owners(package, path):
        init = next((one for one in node.body if getattr(one, "name", "") == "__init__"), None)
        if not isinstance(init, ast.FunctionDef):
            continue
        for argument, default in _arguments(init.args):
            found.setdefault(argument.arg, (_value(default), _is_float(argument.annotation)))
        if not _hands_on(init):
            break
    return found


def _arguments(given: ast.arguments) -> list[tuple[ast.arg, ast.expr | None]]:
    plain = [*given.posonlyargs, *given.args]
    missing: list[ast.expr | None] = [None] * (len(plain) - len(given.defaults))
    return [
        *zip(plain, [*missing, *given.defaults], strict=True),
        *zip(given.kwonlyargs, given.kw_defaults, strict=True),
    ]


def _hands_on(init: ast.FunctionDef) -> bool:
    """True if a constructor gives all other arguments to its base as they are."""
    name = init.args.kwarg.arg if init.args.kwarg else None
    handed = [n for n in ast.walk(init) if isinstance(n, ast.keyword) and n.arg is None]
    uses = [one for one in ast.walk(init) if isinstance(one, ast.Name) and one.id == name]
    return bool(name) and len(uses) == len(handed) == 1 and handed[0].value is uses[0]


def _value(node: ast.expr | None) -> Any:
    try:
        return Ellipsis if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return Ellipsis


def _is_float(node: ast.expr | None) -> bool:
    words = re.findall(r"\w+", ast.unparse(node)) if node else []
    return "float" in words and "int" not in words


def _number(value: Any, is_float: bool) -> Any:
    """A value with whole numbers as floats where they are taken as such."""
    if isinstance(value, list | tuple):
        return [_number(one, is_float) for one in value]
    return float(value) if is_float and isinstance(value, int) and value is not True else value


def _written(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)
