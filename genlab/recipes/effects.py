"""Statements of a module that do more than define."""

from __future__ import annotations

import ast

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPOUND = (ast.If, ast.For, ast.While, ast.Try, ast.With)
QUIET_CALLS = {
    "TypeVar", "ParamSpec", "bool", "bytes", "dict", "float", "frozenset", "int", "len", "list",
    "max", "min", "namedtuple", "range", "set", "sorted", "str", "sum", "tuple", "zip", "Path",
    "getLogger", "compile", "field", "partial", "dtype", "lower", "split", "with_name", "items",
}  # fmt: skip
QUIET_DECORATORS = {"abstractmethod", "cache", "contextmanager", "dataclass", "final",
                    "inference_mode", "lru_cache", "no_grad", "overload", "register_model",
                    "runtime_checkable", "total_ordering"}  # fmt: skip


def acts(node: ast.stmt) -> bool:
    """True if a statement at the top of a module may do more than make a name.

    Args:
        node: the statement; calls and decorators that are not known to be quiet act.
    """
    if isinstance(node, COMPOUND):
        bodies = [getattr(node, name, []) for name in ("body", "orelse", "finalbody", "handlers")]
        inner = [one for body in bodies for one in body]
        more = [s for one in inner for s in (one.body if hasattr(one, "type") else [one])]
        return any(acts(one) for one in more if isinstance(one, ast.stmt))
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        names = {
            last(one.func if isinstance(one, ast.Call) else one) for one in node.decorator_list
        }
        return bool(names - QUIET_DECORATORS) or bool(getattr(node, "keywords", []))
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if not all(isinstance(one, ast.Name | ast.Tuple) for one in targets):
            return True
        return node.value is not None and _calls(node.value)
    return not (isinstance(node, ast.Import | ast.ImportFrom | ast.Pass) or is_text_alone(node))


def _calls(node: ast.AST) -> bool:
    if isinstance(node, ast.Lambda):
        return False
    if isinstance(node, ast.Call) and last(node.func) not in QUIET_CALLS:
        return True
    return any(_calls(child) for child in ast.iter_child_nodes(node))


def last(node: ast.expr) -> str:
    """The last part of a dotted name; empty for another expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def is_text_alone(node: ast.AST) -> bool:
    """True for a docstring, another string that stands alone, and ``...``."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
