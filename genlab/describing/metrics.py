"""Definitions of logged metrics, from the section ``Logs:`` of the docstrings of what logs them."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from genlab.describing import docstrings, source
from genlab.describing.source import Definition

SPLITS = {
    "train": "during training",
    "val": "on validation data",
    "test": "on test data",
    "judge": "of samples, by genlab evaluate --judge",
    "best": "at the selected checkpoint",
    "evaluate": "measured again after training, of the selected checkpoint",
}
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
        parts = re.split(r"<\w+>", self.key)
        return re.fullmatch(".+".join(map(re.escape, parts)), key) is not None


def every() -> list[Metric]:
    """All documented metrics of genlab and of plugins, by key."""
    found = []
    for module, file in source.modules().items():
        if "\n    Logs:\n" in source.text(file):
            for one in source.definitions(module, file):
                found += of(one)
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
    found = [one for one in every() if one.means(key)]
    most = max((one.exact for one in found), default=0)
    return [one for one in found if one.exact == most]


def names() -> list[str]:
    """Keys of all documented metrics."""
    return list(dict.fromkeys(one.key for one in every()))
