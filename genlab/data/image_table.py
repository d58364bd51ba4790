"""Images listed in a table: CSV, JSON lines or Parquet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genlab.data.encoded_images import EncodedImages
from genlab.data.errors import BrokenDataError
from genlab.data.files.file_names import FileNames
from genlab.data.files.folder_scan import PARTS, Listing
from genlab.data.files.label_names import in_order
from genlab.data.files.table import Row, read_table
from genlab.errors import nearest

JOIN = " / "  # between the names of a class that several columns give


class ImageTable(EncodedImages):
    """Images listed in a table, with their labels, and perhaps which part they belong to.

    Classes are the labels that training images have, sorted, as numbers where all are whole
    numbers. A part that the table does not have is split off from the training images.
    ``index`` is the position of the row among those of its part.

    Args:
        table: file, ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.
        image: column of the images' paths.
        label: column of the labels, or several, whose values together are the class; None for
            none. An empty cell is an image without label.
        split: column of the part: ``train``, ``val`` or ``test``; None where all are ``train``.
        root: folder from which relative paths start; None for the table's own.
        **kwargs: arguments of `EncodedImages`.

    Raises:
        ValueError: a value out of range, or two that cannot be combined.
    """

    def __init__(
        self,
        table: str,
        image: str = "path",
        label: str | list[str] | None = "label",
        split: str | None = None,
        root: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.table = Path(os.path.abspath(Path(table).expanduser()))
        super().__init__(str(root or self.table.parent), **kwargs)
        self.columns = image, split
        self.label = [label] if isinstance(label, str) else label or []

    def listing(self) -> tuple[list[str], dict[str, Listing]]:
        """Classes and images of the table's rows."""
        image, split = self.columns
        rows = read_table(self.table, [image, *self.label, *([split] if split else [])])
        parts: dict[str, list[tuple[Path, str]]] = {}
        for number, row in enumerate(rows, 1):
            part = self._part(row, split, number) if split else "train"
            parts.setdefault(part, []).append((self._path(row[image], number), self._class(row)))
        if "train" not in parts:
            raise BrokenDataError(f"{self.table}: no row of column {split!r} is train")
        classes = in_order({name for _, name in parts["train"] if name}, self.table)
        return classes, {part: self._listed_as(found, classes) for part, found in parts.items()}

    def _part(self, row: Row, split: str, number: int) -> str:
        value = str(row[split])
        for part, names in PARTS.items():
            if value.lower() in names:
                return part
        every = [name for names in PARTS.values() for name in names]
        raise BrokenDataError(
            f"{self.table}, row {number}: unknown part {value!r} in column {split!r}; "
            f"{nearest(value, every)}"
        )

    def _path(self, value: Any, number: int) -> Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise BrokenDataError(f"{self.table}, row {number}: {value!r} is not a path")
        return Path(os.path.abspath(self.root), value)

    def _class(self, row: Row) -> str:
        values = ["" if row[name] is None else str(row[name]) for name in self.label]
        return JOIN.join(values) if all(values) else ""

    def _listed_as(self, found: Sequence[tuple[Path, str]], classes: list[str]) -> Listing:
        number = {name: k for k, name in enumerate(classes)}
        for path, name in found:
            if name and name not in number:
                raise BrokenDataError(
                    f"{self.table}: {path} has class {name!r}, which no training image has; "
                    f"{nearest(name, classes)}"
                )
        labels = np.array([number.get(name, -1) for _, name in found], dtype=np.int64)
        return Listing(FileNames.of(path for path, _ in found), labels)
