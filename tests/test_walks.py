"""Tables of contents: from genlab's docstring to a module in two hops, through its package's."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

GENLAB = Path(__file__).parents[1] / "genlab"
FACES = sorted(GENLAB.rglob("__init__.py"))
# One file a method, a callback, a command, a law: the list of files is the table of contents.
LISTS = {GENLAB / name for name in ("methods", "callbacks", "cli", "testing")}


def sentences(face: Path) -> list[str]:
    """The sentences of a package's docstring."""
    text = ast.get_docstring(ast.parse(face.read_text())) or ""
    return re.split(r"(?<=[.;:])\s", re.sub(r"\s+", " ", text))


def named(sentence: str, topic: str) -> list[str]:
    """The modules that a sentence about a topic names."""
    return re.findall(r"`(\w+)`", sentence) if topic in sentence else []


def modules(package: Path) -> set[str]:
    """Names of a package's modules and folders."""
    files = {file.stem for file in package.glob("[a-z]*.py")}
    return files | {face.parent.name for face in package.glob("[a-z]*/__init__.py")}


@pytest.mark.parametrize(
    ("topic", "package", "place"),
    [
        ("read safely", "checkpoints", "safe_read"),
        ("signals", "cluster", "signals"),
        ("views", "data", "on_device"),
        ("views", "augment", "views"),
        ("setting", "recipes", "class_names"),
    ],
)
def test_two_hops_lead_to(topic: str, package: str, place: str) -> None:
    first = [name for text in sentences(GENLAB / "__init__.py") for name in named(text, topic)]
    face = GENLAB / package / "__init__.py"
    second = [name for text in sentences(face) for name in named(text, topic)]
    assert package in first
    assert place in second
    assert (GENLAB / package / f"{place}.py").is_file()


@pytest.mark.parametrize(
    "face", [f for f in FACES if f.parent not in LISTS], ids=lambda f: f.parent.name
)
def test_a_face_names_every_module(face: Path) -> None:
    known = set(re.findall(r"`(\w+)`", " ".join(sentences(face))))
    assert modules(face.parent) - {"__main__"} <= known
