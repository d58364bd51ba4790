"""Data sets of images as Hugging Face's datasets library stores them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genlab.data.encoded_images import EncodedImages
from genlab.data.errors import BrokenDataError
from genlab.data.files.arrow import Columns
from genlab.data.files.dataset_folder import files_of_parts
from genlab.data.files.folder_scan import Listing
from genlab.data.files.hub import HUB, folder_of
from genlab.data.files.label_names import in_order, numbers_of
from genlab.data.shards.pieces import PLACE, Pieces, numbered
from genlab.data.splits import Rows


class HuggingFace(EncodedImages):
    """Images in Arrow or Parquet files: what ``save_to_disk`` writes, or a data set of the hub.

    It requires pyarrow, not the datasets library. Arrow files are read where they are; Parquet's
    images are unpacked once into the user's cache. For the layouts of folders see
    `dataset_folder.files_of_parts`, for names of the hub `hub.folder_of`. A part that is not there
    is split off from the training images. ``index`` is the row among those of its part.

    Args:
        root: the folder, or ``hf-hub:OWNER/NAME``, a data set that is downloaded once.
        image: column of the images; None for the only one that contains encoded images.
        label: column of the labels, whole numbers or texts; None for none. A row without label,
            or with -1, is an image without label.
        download: False never to ask the hub.
        **kwargs: arguments of `EncodedImages`.

    Raises:
        ValueError: a value out of range, or two that cannot be combined.
    """

    def __init__(
        self,
        root: str,
        image: str | None = None,
        label: str | None = "label",
        download: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.image, self.label, self.download = image, label, download

    def listing(self) -> tuple[list[str], dict[str, Listing]]:
        """Classes and images of the data set's rows."""
        place = str(self.root)
        of_hub = place.startswith(HUB)
        root = folder_of(place, self.download) if of_hub else Path(os.path.abspath(place))
        parts = {
            part: [Columns(file) for file in files] for part, files in files_of_parts(root).items()
        }
        names = {part: self._names(tables) for part, tables in parts.items()}
        classes = self._classes(parts["train"], names["train"])
        return classes, {
            part: self._pieces(tables, numbers_of(names[part], classes, tables[0].file))
            for part, tables in parts.items()
        }

    def _names(self, tables: Sequence[Columns]) -> list[str]:
        """Name of the class of every row, empty where unknown."""
        return [name for table in tables for name in self._names_in(table)]

    def _names_in(self, table: Columns) -> list[str]:
        if self.label is None:
            return [""] * table.count
        column = table.labels(self.label)
        if column.names is None:
            return ["" if value in (None, -1) else str(value) for value in column.values]
        known = range(-1, len(column.names))
        wrong = next((v for v in column.values if v is not None and v not in known), None)
        if wrong is not None:
            raise BrokenDataError(
                f"{table.file}: label {wrong} is not one of its {len(column.names)} classes"
            )
        names = [*column.names, ""]  # -1 is the last
        return ["" if value is None else names[value] for value in column.values]

    def _classes(self, tables: Sequence[Columns], names: list[str]) -> list[str]:
        """Classes in the order of their labels: the file's own, else those of training images."""
        own = None if self.label is None else tables[0].labels(self.label).names
        return own or in_order({name for name in names if name}, tables[0].file)

    def _pieces(self, tables: Sequence[Columns], labels: Rows) -> Pieces:
        held = [table.images(table.image_column(self.image)) for table in tables]
        places = np.zeros(len(labels), PLACE)
        counts = [len(part.lengths) for part in held]
        places["shard"] = np.repeat(np.arange(len(held)), counts)
        places["offset"] = np.concatenate([part.offsets for part in held])
        places["length"] = np.concatenate([part.lengths for part in held])
        if not len(places):
            raise BrokenDataError(f"{tables[0].file} has no rows")
        names = numbered([str(table.file) for table in tables], counts)
        return Pieces(names, labels, [part.file for part in held], places)
