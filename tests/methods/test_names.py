"""Names in method files mean one thing: no local variable hides an imported module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import genlab.methods

FILES = sorted(Path(genlab.methods.__file__).parent.glob("*.py"))


def hidden(source: str) -> set[str]:
    """Names of imports that a function assigns to."""
    nodes = list(ast.walk(ast.parse(source)))
    taken = {
        alias.asname or alias.name
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return taken & stored


def test_a_hidden_import_is_found() -> None:
    assert hidden("from a import b\ndef f():\n    b = 1") == {"b"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_no_local_name_hides_an_import(file: Path) -> None:
    assert not hidden(file.read_text())
