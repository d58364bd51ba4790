"""Folders of images, or shards of them."""

from __future__ import annotations

import os
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from genlab.data.encoded_images import EncodedImages
from genlab.data.errors import MissingDataError
from genlab.data.files.folder_scan import Listing, scan
from genlab.data.shards.index import INDEX
from genlab.data.shards.reader import BLOCK, ShardLoader, packed


class ImageFolder(EncodedImages):
    """Images in folders, with or without classes, or in shards.

    Shards are what ``genlab pack`` makes of a folder: same images, same splits, same batches, and
    far fewer files for a network disk.

    Layouts: ``root/train/CLASS/*`` with ``val`` and ``test`` next to ``train``; ``root/CLASS/*``;
    or ``root/*`` without labels. A missing part is split off from the training images.
    ``index`` is the position of the file in the sorted list of its part.

    Args:
        root: the folder, of images or of shards.
        image_size: side in pixels, see `EncodedImages`.
        channels: 1, 3 or 4, see `EncodedImages`.
        unlabeled: True to ignore sub-folders as classes: every label is -1.
        unlabeled_root: a second folder, of any depth, whose images are trained on without
            labels (-1) in addition to those of ``root``; ``index`` counts them last.
        order: ``global``: any order of all training images, each read by itself: memory and local
            disks; ``shards``: shards are read from end to end, for network disks; see
            `shards.shard_order`. Both shuffle anew in every epoch.
        rescan: True to walk the folder anew. Else the list of a large one is kept in the user's
            cache and used again while the folders' times and counts, and the sizes of 1,000 files,
            are what they were.
        window: number of images from which the next one is drawn, with ``shards``.
        **kwargs: arguments of `EncodedImages`.

    Raises:
        ValueError: a value out of range, or two that cannot be combined.
    """

    def __init__(
        self,
        root: str,
        image_size: int = 64,
        channels: int = 3,
        unlabeled: bool = False,
        unlabeled_root: str | None = None,
        order: Literal["global", "shards"] = "global",
        window: int = 16384,
        rescan: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, image_size, channels, **kwargs)
        self.unlabeled, self.unlabeled_root, self.rescan = unlabeled, unlabeled_root, rescan
        self.block = 1  # bytes that are fetched at once
        if order not in ("global", "shards"):
            raise ValueError(f"unknown order {order!r}; choose from global, shards")
        if order == "shards":
            self._read_in_order_of_shards(window)

    def listing(self) -> tuple[list[str], dict[str, Listing]]:
        """Classes and images of the folder or of its shards, see `folder_scan.scan`."""
        root = Path(os.path.abspath(self.root))
        if (root / INDEX).is_file():
            return self._packed(root)
        if self.block > 1:
            raise ValueError(f"order 'shards' requires shards: genlab pack {root} SHARDS")
        try:
            classes, parts = scan(root, self.unlabeled, self.rescan)
        except MissingDataError as error:
            hint = "" if root.exists() else "\nif it has moved: data.root=FOLDER"
            if any(chain(root.glob("*.tar"), root.glob("*/*.tar"))):
                hint = "\ntar files of images are read by data=WebDataset"
            raise MissingDataError(f"{error}{hint}") from None
        if self.unlabeled_root is not None:
            place = Path(self.unlabeled_root).expanduser()
            more = scan(Path(os.path.abspath(place)), True, self.rescan)[1]["train"]
            parts["train"] = parts["train"].plus(more)
        return classes, parts

    def _packed(self, root: Path) -> tuple[list[str], dict[str, Listing]]:
        if self.unlabeled_root is not None:
            raise ValueError(f"unlabeled_root requires a folder of images; {root} contains shards")
        classes, parts = packed(root, self.unlabeled, self.block)
        return classes, dict(parts)

    def _read_in_order_of_shards(self, window: int) -> None:
        if self.few or self.sampling != "uniform" or self.in_memory or self.binarize != "none":
            raise ValueError(
                "order 'shards' cannot be combined with labels, sampling 'balanced', "
                "in_memory or binarize"
            )
        if window < 1:
            raise ValueError(f"window {window} must be at least 1")
        self.in_memory, self.block = False, BLOCK
        self.train_loader = partial(ShardLoader, window=window)
