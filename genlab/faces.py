"""Faces of packages read from their files: each public class and module loads on first use."""

from __future__ import annotations

import ast
import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any


@cache
def homes(package: str) -> dict[str, str]:
    """Public classes of a package's own files, each with its module.

    Args:
        package: dotted name of a package that is imported.
    """
    found = {}
    for file in _files(package):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name] = f"{package}.{file.stem}"
    return found


def modules(package: str) -> list[str]:
    """Names of a package's modules and folders."""
    folder = Path(str(sys.modules[package].__file__)).parent
    folders = [file.parent.name for file in folder.glob("[a-z]*/__init__.py")]
    return sorted([*folders, *(file.stem for file in _files(package))])


def names(package: str) -> list[str]:
    """Names that completion offers: classes, then modules."""
    return [*sorted(homes(package)), *modules(package)]


def member(package: str, name: str) -> Any:
    """A package's class or module by its name, imported now.

    Raises:
        AttributeError: the package has none of that name.
    """
    if name == "__all__":  # asked for by help() and by a star
        return sorted(homes(package))
    if not name.startswith("_"):
        if name in homes(package):
            return getattr(importlib.import_module(homes(package)[name]), name)
        if name in modules(package):
            return importlib.import_module(f"{package}.{name}")
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def _files(package: str) -> list[Path]:
    folder = Path(str(sys.modules[package].__file__)).parent
    return sorted(folder.glob("[a-z]*.py"))
