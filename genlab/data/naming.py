"""Classes by name: labels numbered by given names instead of in the data's own order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genlab.errors import nearest

if TYPE_CHECKING:
    from genlab.data.loader import Source

SHOWN = 5  # names in a message


class HasClasses:
    """Classes of a data module, by number and, where they have any, by name."""

    num_classes: int
    classes: Sequence[str] = ()  # names in the order of the labels

    def name_classes(self, names: list[str] | None) -> None:
        """Take names for the classes; None leaves the data's own."""
        self.naming = Naming(names)
        if names is not None:
            self.take_classes(names)

    def own_classes(self) -> Sequence[str]:
        """Names of the classes in the order of the labels on disk; empty if they have none."""
        return type(self).classes or self.classes

    def take_classes(self, names: Sequence[str]) -> None:
        """Set names and number of the classes."""
        self.classes, self.num_classes = names, len(names)


class Naming:
    """The names that the classes of a data set are to have, and what they are on disk.

    Args:
        asked: names in the order of their labels; None for the data's own.

    Attributes:
        table: (K + 1,) number of each class on disk among the names, -1 last; None if they agree.
        lenient: True to give images of a class that is not among the names the label -1.

    Raises:
        ValueError: a name twice, or none.
    """

    def __init__(self, asked: Sequence[str] | None) -> None:
        self.asked, self.own = asked, list[str]()
        self.table: Tensor | None = None
        self.lenient = False
        if asked is not None and (not asked or len(set(asked)) < len(asked)):
            twice = next((name for name in asked if list(asked).count(name) > 1), None)
            why = "names none" if twice is None else f"names {twice!r} twice"
            raise ValueError(f"classes {why}: one name for each label, or null for the data's own")

    def compare(self, data: Any) -> None:
        """Find the number of every class among the names.

        Raises:
            ValueError: a class that is not among them, unless lenient, or another number where
                classes have no names.
        """
        self.own = [str(name) for name in data.own_classes()]
        if self.asked is None:
            return
        if not self.own or self.own == list(self.asked):
            _compare_counts(data, len(self.asked))
            return
        unknown = self._unknown()
        if unknown and not self.lenient:
            raise ValueError(
                f"{place(data)}: unknown {_listed('class', unknown)}; "
                f"{nearest(unknown[0], self.asked)}\n"
                f"classes must be among these {len(self.asked)}; "
                "rename or remove the others; for a new training data.classes=null takes them"
            )
        number = {name: label for label, name in enumerate(self.asked)}
        self.table = torch.tensor([*(number.get(name, -1) for name in self.own), -1])

    def number(self, data: Any, sources: Iterable[Source]) -> None:
        """Number the labels of all sources by the names, once."""
        if self.table is None or self.asked is None:
            return
        for source in sources:
            source.labels = self.table[source.labels]
        data.take_classes(self.asked)

    def note(self, data: Any) -> str:
        """Say that labels are numbered otherwise than on disk; empty if they are not."""
        if self.table is None:
            return ""
        unknown = self._unknown()
        known = [name for name in self.own if name not in unknown]
        count = f"{len(known)} of {len(self.asked or ())}"
        told = [f"{_listed('class', known)} by name, {count}"] if known else []
        told += [f"label -1 for unknown {_listed('class', unknown)}"] if unknown else []
        return f"{place(data)}: {'; '.join(told)}"

    def _unknown(self) -> list[str]:
        asked = set(self.asked or ())
        return [name for name in self.own if name not in asked]


def place(data: Any) -> str:
    """Source of a data set's classes: its folder, or its class where that fixes them."""
    fixed = isinstance(type(data).classes, list | tuple) and type(data).classes
    return type(data).__name__ if fixed or not data.own_classes() else str(data.root)


def _compare_counts(data: Any, count: int) -> None:
    """Refuse names for a set of another number of classes; one without labels has none."""
    own = vars(type(data)).get("num_classes", data.num_classes)
    if isinstance(own, int) and own != count:
        raise ValueError(f"classes are {count} names, {type(data).__name__} has {own} classes")


def _listed(word: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    word = word if len(names) == 1 else f"{word}es"
    return f"{word} {', '.join(map(repr, names[:SHOWN]))}{more}"
