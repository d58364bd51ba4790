"""Definitions of logged metrics, from the section ``Logs:`` of the docstrings of what logs them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from textwrap import dedent

from genlab.describing import docstrings, foreign, source
from genlab.describing.source import Definition

SPLITS = {
    "train": "during training",
    "val": "on validation data",
    "test": "on test data",
    "judge": "of samples, by genlab evaluate --judge",
    "ensemble": "on test data, of the mean of several classifiers' probabilities",
    "best": "at the selected checkpoint",
    "evaluate": "measured again after training, of the selected checkpoint",
}
SECTION = re.compile(r"^    Logs:\n((?: {8}.*\n|\n)+)", re.M)
BETTER = {"higher": "higher is better", "lower": "lower is better"}


@dataclass(frozen=True)
class Metric:
    """A definition of a logged metric.

    Args:
        key: the key under which it is logged; ``<name>`` in it stands for any text.
        unit: its unit, such as ``nats`` or ``fraction``.
        better: ``higher``, ``lower``, or empty where neither is.
        text: definition, with the formula.
        owner: the class or function that logs or computes it.
    """

    key: str
    unit: str
    better: str
    text: str
    owner: Definition

    @property
    def split(self) -> str:
        """Description of the images that it is of; empty for a fact of the run."""
        return SPLITS.get(self.key.partition("/")[0], "") if "/" in self.key else ""

    @property
    def exact(self) -> int:
        """Number of characters of the key that stand for themselves."""
        return len(re.sub(r"<\w+>", "", self.key))

    def means(self, key: str) -> bool:
        """True if a key of a log is this one."""
        return _means(self.key, key)


def _means(pattern: str, key: str) -> bool:
    if "<" not in pattern:
        return pattern == key
    parts = re.split(r"<\w+>", pattern)
    return re.fullmatch(".+".join(map(re.escape, parts)), key) is not None


def every() -> list[Metric]:
    """All documented metrics of genlab and of plugins, by key."""
    return _of_files(_keys())


def _keys() -> dict[str, list[str]]:
    """Keys that each module documents, read as text: to parse all of them takes too long."""
    return {
        module: keys
        for module, file in source.modules().items()
        if (keys := _written(source.text(file)))
    }


@cache
def _written(content: str) -> list[str]:
    sections = SECTION.findall(content)
    return [key for one in sections for key in docstrings.entries(dedent(one))]


def _of_files(modules: Iterable[str]) -> list[Metric]:
    files = source.modules()
    owners = (one for module in modules for one in source.definitions(module, files[module]))
    found = [metric for owner in owners for metric in of(owner)]
    return sorted(found, key=lambda one: (one.key, one.owner.path))


def of(owner: Definition) -> list[Metric]:
    """Metrics that a class or function documents."""
    logged = docstrings.parse(owner.docstring).entries("Logs")
    return [_metric(entry, owner) for entry in logged.values()]


def logged_by(owner: Definition) -> list[Metric]:
    """Metrics that a class documents, or where it has none its nearest base that does."""
    if (found := of(owner)) or not isinstance(owner.node, ast.ClassDef):
        return found
    bases = (source.imported(owner, ast.unparse(base)) for base in owner.node.bases)
    return next((found for base in bases if base and (found := logged_by(base))), [])


def _metric(entry: docstrings.Entry, owner: Definition) -> Metric:
    unit, _, better = entry.note.rpartition(", ")
    if better not in BETTER:
        unit, better = entry.note, ""
    return Metric(entry.name, unit, better, entry.text, owner)


def definitions(key: str) -> list[Metric]:
    """Definitions of a key of a log, the most exact ones; several where methods differ."""
    files = [module for module, keys in _keys().items() if any(_means(one, key) for one in keys)]
    return _exact([one for one in _of_files(files) if one.means(key)])


def of_method(key: str, method: Definition) -> list[Metric]:
    """Definitions of a key that hold for a method: its own, else those of what any method may use.

    Those of other methods, and of what only other methods use, are left out.
    """
    lineage = {one.module for one in _lineage(method)}
    others = [one for one in definitions(key) if not _of_other_methods(one.owner, lineage)]
    return inherited(key, method) or others


def _lineage(owner: Definition) -> Iterator[Definition]:
    yield owner
    for base in owner.node.bases if isinstance(owner.node, ast.ClassDef) else []:
        if (above := source.imported(owner, ast.unparse(base))) is not None:
            yield from _lineage(above)


def _of_other_methods(owner: Definition, lineage: set[str]) -> bool:
    """True if only methods that are not of a lineage take a class or function, or if one has it."""
    files = {m: file for m, file in source.modules().items() if file.name != "__init__.py"}
    users = [m for m, file in files.items() if foreign.exporter(owner.name, m, source.text(file))]
    homes = [owner.module] if _is_method(owner.module) else users
    return bool(homes) and all(_is_method(one) and one not in lineage for one in homes)


def _is_method(module: str) -> bool:
    return module.split(".")[1:2] == ["methods"]


def inherited(key: str, owner: Definition) -> list[Metric]:
    """Definitions of a key by a class, or else by the nearest of its bases that has one."""
    each = ([one for one in of(kind) if one.means(key)] for kind in _lineage(owner))
    return _exact(next((found for found in each if found), []))


def _exact(found: list[Metric]) -> list[Metric]:
    most = max((one.exact for one in found), default=0)
    return [one for one in found if one.exact == most]


def names() -> list[str]:
    """Keys of all documented metrics."""
    return sorted({key for keys in _keys().values() for key in keys})
