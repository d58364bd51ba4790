"""Two runs side by side: what differs in settings, code, data, machine and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genlab.runs.json_files import read_json
from genlab.runs.rows import read_row
from genlab.runs.settings import flat, read_groups

CODE = ("fingerprint", "git", "files_not_in_git", "versions")
DATA = ("data", "splits_sha256", "num_classes", "parents")
MACHINE = ("host", "device", "world_size")
ABSENT = "-"


@dataclass
class Difference:
    """Differences between two runs.

    Args:
        parts: names that differ in each section (``settings``, ``code``, ``data``, ``machine``,
            ``metrics``), each with both values; ``-`` for what a run lacks.
        same: number of names in each section in which they agree.
        is_one: True if both have the same fingerprint and seed: they are the same run, twice.
    """

    parts: dict[str, dict[str, tuple[Any, Any]]] = field(default_factory=dict)
    same: dict[str, int] = field(default_factory=dict)
    is_one: bool = False


def difference(first: Path, second: Path) -> Difference:
    """Differences between two runs."""
    found = Difference()
    both = [_sections(run) for run in (first, second)]
    for name in both[0]:
        one, other = both[0][name], both[1][name]
        keys = list(dict.fromkeys([*one, *other]))
        pairs = {key: (one.get(key, ABSENT), other.get(key, ABSENT)) for key in keys}
        found.parts[name] = {k: pair for k, pair in pairs.items() if repr(pair[0]) != repr(pair[1])}
        found.same[name] = len(pairs) - len(found.parts[name])
    code, settings = found.parts["code"], found.parts["settings"]
    known = bool(both[0]["code"].get("fingerprint"))
    found.is_one = known and "fingerprint" not in code and "seed_everything" not in settings
    return found


def _sections(run: Path) -> dict[str, dict[str, Any]]:
    facts = read_json(run / "run.json")
    return {
        "settings": flat(read_groups(run / "recipe.yaml")),
        "code": _facts(facts, CODE),
        "data": _facts(facts, DATA),
        "machine": _facts(facts, MACHINE),
        "metrics": dict(read_row(run.parent, run.name, False).metrics),
    }


def _facts(facts: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return flat({name: facts[name] for name in names if facts.get(name) is not None})
