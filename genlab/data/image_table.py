"""Images listed in a table: CSV, JSON lines or Parquet."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from genlab.data.encoded_images import EncodedImages
from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.file_names import FileNames
from genlab.data.files.folder_scan import PARTS, Listing
from genlab.data.files.label_names import in_order, numbers_of
from genlab.data.files.table import Row, read_table
from genlab.errors import nearest

JOIN = " / "  # between the names of a class that several columns give
MINUS = {"-1", "-1.0"}
UNKNOWN = MINUS | {""}  # labels, as text, of images without label


class ImageTable(EncodedImages):
    """Images listed in a table, with their labels, and perhaps which part they belong to.

    Classes are the labels that training images have, sorted, as numbers where all are whole
    numbers. A part that the table does not have is split off from the training images.
    ``index`` is the position of the row among those of its part.

    Args:
        table: file, ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet``.
        image: column of the images' paths.
        label: column of the labels, or several, whose values together are the class; None for
            none. An empty cell, NaN or -1 is an image without label; 3.0 in a column of floats
            is 3.
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
        listed: dict[int, tuple[Path, str, str]] = {}
        for number, row in rows.items():
            part = self._part(row, split, number) if split else "train"
            one = self._path(row[image], number), self._class(row, number)
            parts.setdefault(part, []).append(one)
            listed[number] = *one, part
        self._tell_of_repeated(listed)
        if "train" not in parts:
            raise BrokenDataError(f"{self.table}: no row of column {split!r} is train")
        self._check_root([path for found in parts.values() for path, _ in found])
        names = {part: [name for _, name in found] for part, found in parts.items()}
        classes = in_order({name for name in names["train"] if name}, self.table)
        self._tell_of_one_class(rows.values(), classes)
        return classes, {
            part: Listing(
                FileNames.of(path for path, _ in found),
                numbers_of(names[part], classes, self.table),
            )
            for part, found in parts.items()
        }

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

    def _check_root(self, paths: list[Path]) -> None:
        """Refuse a folder in which no image of the table is."""
        if not any(map(os.path.exists, paths)):
            raise MissingDataError(
                f"{self.table}: none of its {len(paths)} images exists; first: {paths[0]}\n"
                "data.root is where its paths start; another table is data.table=TABLE,\n"
                "every image of a folder data=ImageFolder data.root=FOLDER "
                f"data.image_size={self.image_size}"
            )

    def _class(self, row: Row, number: int) -> str:
        for name in self.label:
            if isinstance(row[name], list | dict | bytes):
                kind = type(row[name]).__name__
                raise BrokenDataError(
                    f"{self.table}, row {number}: column {name!r} contains a {kind}, "
                    "not a number or a name"
                )
        values = [_text(row[name]) for name in self.label]
        return "" if UNKNOWN & set(values) else JOIN.join(values)

    def _tell_of_repeated(self, listed: dict[int, tuple[Path, str, str]]) -> None:
        """Warn of paths in more than one row, each with its label and part."""
        first: dict[Path, int] = {}
        pairs = [(first.setdefault(path, row), row) for row, (path, *_) in listed.items()]
        again = [(one, row) for one, row in pairs if one != row]
        if not again:
            return
        told, worst = [f"{len(again)} of {len(listed)} rows repeat the path of another"], again
        for at, what in ((2, "in another part"), (1, "with another label")):
            if unlike := [(one, row) for one, row in again if listed[one][at] != listed[row][at]]:
                told.append(f"{len(unlike)} {what}")
                worst = unlike
        one, row = worst[0]
        rank_zero_warn(
            f"{self.table}: {', '.join(told)}; rows {one} and {row}: {listed[row][0]}",
            stacklevel=2,
        )

    def _tell_of_one_class(self, rows: Collection[Row], classes: list[str]) -> None:
        """Warn where -1 is perhaps the other of two classes."""
        texts = [{_text(row[name]) for name in self.label} for row in rows]
        if len(classes) == 1 and (without := sum(bool(one & MINUS) for one in texts)):
            rank_zero_warn(
                f"{self.table}: {without} of {len(rows)} images have label -1, which is none; "
                f"{classes[0]} is the only class",
                stacklevel=2,
            )


def _text(value: Any) -> str:
    """A label as text; empty where there is none."""
    if value is None or value != value:  # NaN
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)
