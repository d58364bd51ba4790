"""The search index of the built site: every public name, recipe key and log key is found."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pytest

from docs.builder import api
from genlab import cli, recipes
from genlab.describing import metrics
from tests.docs.test_site import SITE

pytestmark = pytest.mark.site
SETTINGS = ("model", "data", "trainer", "checkpoint", "track")
FORM = {"class_path", "init_args"}


@cache
def index() -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((SITE / "search" / "search_index.json").read_text())[
        "docs"
    ]
    return found


@cache
def places() -> set[str]:
    """Anchors that a search leads to."""
    return {entry["location"].partition("#")[2] for entry in index()}


@cache
def words() -> set[str]:
    """Whole words of the pages that explain; the API and the history of changes say too much."""
    chosen = [e for e in index() if not e["location"].startswith(("reference/api", "changelog"))]
    text = " ".join(f"{entry['title']} {entry['text']}" for entry in chosen)
    return set(re.findall(r"[\w/]+", re.sub(r"<[^>]*>", " ", text)))


def public_names() -> Iterator[str]:
    """Dotted names of public classes and functions."""
    for module, file in api.modules().items():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                yield f"{module}.{node.name}"


def keys(settings: Any, parents: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Keys of resolved settings, each with those above it."""
    if isinstance(settings, Mapping):
        for name, below in settings.items():
            here = parents if name in FORM else (*parents, str(name))
            if name not in FORM:
                yield here
            yield from keys(below, here)
    elif isinstance(settings, list):
        for item in settings:
            yield from keys(item, parents)


def recipe_keys() -> set[tuple[str, ...]]:
    """Keys of all shipped recipes."""
    found: set[tuple[str, ...]] = set()
    for name in recipes.shipped():
        config = recipes.resolve([name]).config
        found |= {key for group in SETTINGS for key in keys(config.get(group), (group,))}
    return found


def test_public_classes_and_functions_are_found() -> None:
    names = set(public_names())
    assert len(names) > 500
    assert not names - places()


def explained() -> set[str]:
    """Arguments and keys that a page of the reference or of a method explains in a row."""
    pages = [e for e in index() if e["location"].startswith(("reference/", "methods/"))]
    texts = (e["text"] for e in pages if not e["location"].startswith("reference/api"))
    return set(re.findall(r"<code>(\w+)</code>", html.unescape(" ".join(texts))))


def test_keys_of_all_recipes_are_found() -> None:
    found = recipe_keys()
    assert ("model", "optimizer", "lr") in found
    assert not {".".join(key) for key in found if key[-1] not in explained()}


def test_log_keys_are_found() -> None:
    text = next(e["text"] for e in index() if e["location"] == "reference/metrics/")
    sections = [e["text"] for e in index() if e["location"].startswith("reference/metrics/#")]
    every = html.unescape(text + " ".join(sections))
    assert len(metrics.names()) > 100
    assert not {name for name in metrics.names() if f"<code>{name}</code>" not in every}


def test_recipes_and_commands_are_found() -> None:
    assert not {name for name in recipes.shipped() if name not in words()}
    assert not {name for name in cli.COMMANDS if name not in words()}
