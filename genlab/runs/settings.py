"""Settings of runs, read fast: most of a run's recipe.yaml says what its neighbours' say."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from genlab.errors import InputError
from genlab.files import text_of
from genlab.recipes.files import parse, read, split

BLOCK = re.compile(r"^(?=[^\s#-])", re.M)  # where the next of a mapping's own keys begins


def read_groups(file: Path, *names: str) -> dict[str, Any]:
    """Groups of a recipe file by name, all without names; empty for a file that is damaged.

    The text of a group that another file had too is not parsed again.
    """
    try:
        return _groups(split(text_of(file))[1], names)
    except (OSError, UnicodeDecodeError, InputError):
        return {}
    except _OddError:
        try:
            return read(file)
        except InputError:
            return {}


class _OddError(Exception):
    """A recipe that cannot be read group by group: aliases between groups, text in odd places."""


def _groups(text: str, names: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for block in BLOCK.split(text):
        name = block.partition(":")[0]
        if not block.strip() or block.startswith("#") or (names and name not in names):
            continue
        try:
            one = _parsed(block)
        except InputError:
            raise _OddError from None
        if not isinstance(one, dict) or found.keys() & one.keys():
            raise _OddError
        found |= one
    return found


@lru_cache(20_000)
def _parsed(block: str) -> Any:
    return parse(block, "recipe.yaml")


def flat(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings as ``model.lr: 0.001``; classes as ``model: VAE``."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}".replace(".init_args", "")
        if key == "class_path":
            found[prefix[:-1]] = str(value).rpartition(".")[2]
        elif isinstance(value, dict) and value:
            found |= flat(value, f"{name}.")
        else:
            found[name] = value
    return found


def shown(value: Any, longest: int = 40) -> str:
    """A setting in readable form."""
    if isinstance(value, float):
        return f"{value:g}"
    if value is None:
        return "null"
    text = ",".join(shown(one, longest) for one in value) if isinstance(value, list) else str(value)
    text = f"[{text}]" if isinstance(value, list) else text
    return text if len(text) <= longest else text[: longest - 3] + "..."
