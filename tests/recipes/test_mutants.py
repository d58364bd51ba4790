"""Fingerprints of mutated code: each change of what a recipe uses is seen, no other one is."""

from __future__ import annotations

import ast
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from genlab import recipes
from genlab.recipes import fingerprints, modules, outlines

Mutant = tuple[ast.AST, bytes]
SPOKEN = ("warn", "note", "print", "info", "warning", "format", "join")
OPERATORS: dict[type[ast.AST], bytes] = {
    ast.Add: b"-", ast.Sub: b"+", ast.Mult: b"/", ast.Div: b"*", ast.FloorDiv: b"*",
    ast.Lt: b">=", ast.Gt: b"<=", ast.LtE: b">", ast.GtE: b"<", ast.Eq: b"!=", ast.NotEq: b"==",
}  # fmt: skip


def changes(node: ast.AST) -> Iterator[tuple[ast.expr | tuple[ast.expr, ast.expr], bytes]]:
    """Constants and operators of a definition that decide what it does, each with another one."""
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in SPOKEN:
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        yield node, repr({str: "other", bool: not node.value}.get(type(node.value), 77)).encode()
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield (node.left, node.right), OPERATORS[type(node.op)]
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        yield (node.left, node.comparators[0]), OPERATORS[type(node.ops[0])]
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in ("annotation", "returns"):
                yield from changes(child)


def words(node: ast.AST) -> Iterator[tuple[ast.expr, bytes]]:
    """Docstrings, annotations and messages of a definition, each with another one."""
    for one in ast.walk(node):
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
            yield one.value, b"'Another text.'"
        annotation = getattr(one, "annotation", None) or getattr(one, "returns", None)
        if isinstance(annotation, ast.expr):
            yield annotation, b"object"
        if isinstance(one, ast.Raise) and isinstance(one.exc, ast.Call):
            for text in one.exc.args[:1]:
                if isinstance(text, ast.Constant | ast.JoinedStr):
                    yield text, b"'another message'"


def replaced(content: bytes, where: ast.expr | tuple[ast.expr, ast.expr], new: bytes) -> bytes:
    """A module's text with another expression, or another operator between two."""
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def begin(node: ast.expr) -> int:
        return starts[node.lineno - 1] + node.col_offset

    def end(node: ast.expr) -> int:
        return starts[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0)

    if not isinstance(where, tuple):
        return content[: begin(where)] + new + content[end(where) :]
    left, right = where
    gap = content[end(left) : begin(right)]
    sign = next(s for s in (b"//", b">=", b"<=", b"==", b"!=", *b"+ - * / < >".split()) if s in gap)
    return content[: end(left)] + gap.replace(sign, new, 1) + content[begin(right) :]


class Lab:
    """A copy of genlab's code, and the definitions of it that a recipe uses.

    Args:
        name: the recipe.
        folder: of the copy.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.recipe, self.folder = recipes.resolve([name]), folder
        self.code = fingerprints.code(self.recipe)
        self.same = fingerprints.fingerprint(self.recipe)

    def file(self, module: str) -> Path:
        base = self.folder.joinpath(*module.split(".")[1:])
        return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")

    def nodes(self, used: bool) -> list[tuple[str, ast.stmt]]:
        """Definitions in the modules of the recipe that it uses, or those that it does not."""
        found = []
        for module in self.code.modules:
            names = self.code.definitions(module)
            for node in ast.parse(self.file(module).read_bytes()).body:
                bound = set(outlines._bound(node)) - {fingerprints.TABLE}  # that counts by rows
                if bound and not isinstance(node, ast.If) and bool(bound & names) == used:
                    found.append((module, node))
        return found

    def stays(self, module: str, where: object, new: bytes) -> bool:
        """True if the fingerprint is the same with a mutant."""
        file = self.file(module)
        content = file.read_bytes()
        mutant = replaced(content, where, new)  # type: ignore[arg-type]
        ast.parse(mutant)
        assert mutant != content
        try:
            file.write_bytes(mutant)
            return fingerprints.fingerprint(self.recipe) == self.same
        finally:
            file.write_bytes(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("code") / "copy"
    shutil.copytree(modules.ROOT, place, ignore=shutil.ignore_patterns("__pycache__", "_share"))
    return place


FEW = [("vae/digits", 8), ("fixmatch/mnist", 8)]
MANY = [(name, 60) for name in ("vae/mnist", "vq_prior/mnist", "moco/digits", "wgan_gp/mnist",
                                 "finetune/cifar10_500", "glow/digits")]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "number"), [*FEW, *(pytest.param(*one, marks=pytest.mark.slow) for one in MANY)]
)
def test_mutants(name: str, number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "ROOT", folder)
    monkeypatch.setattr(fingerprints, "ROOT", folder)
    lab, draw = Lab(name, folder), random.Random(name)
    used, unused = lab.nodes(True), lab.nodes(False)
    for kind, nodes, same in ((changes, used, False), (words, used, True), (changes, unused, True)):
        every = [(module, *one) for module, node in nodes for one in kind(node)]
        assert len(every) > number
        for module, where, new in draw.sample(every, number):
            line = where[0].lineno if isinstance(where, tuple) else where.lineno
            assert lab.stays(module, where, new) == same, f"{module} {line} {new!r} {kind}"
