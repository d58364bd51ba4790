"""Omniglot: handwritten characters of many alphabets, twenty drawings of each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import Omniglot as Stock
from torchvision.datasets.utils import download_and_extract_archive

from genlab.contracts import Episodes
from genlab.data import episodes
from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files import drawings
from genlab.data.files.download import fetch, location
from genlab.data.images import Images
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source
from genlab.errors import check_names

FOLDER = "omniglot-py"  # as torchvision lays it out
BACKGROUNDS = {
    "all": ("images_background",),
    "small1": ("images_background_small1",),
    "small2": ("images_background_small2",),
    "small": ("images_background_small1", "images_background_small2"),
}
CHARACTERS = {"all": 964, "small1": 136, "small2": 156, "small": 242}
RUNS = "one_shot"
ARCHIVES = {RUNS: "one-shot-classification/all_runs"}  # others are named after their folder
WAYS = 20  # characters of a trial
TRIALS = 20  # runs of the test, and made-up trials of a held-out alphabet


class Drawings(Images):
    """Drawings of Omniglot, white ink on black as MNIST's, in memory.

    Args:
        root: folder of the data; None for the environment's GENLAB_DATA, else ``data``.
        download: True to fetch missing data.
        image_size: side in pixels to which the files' 105 are scaled, bilinear and antialiased.
        centred: True to move each drawing's centre of mass to the middle first, by whole pixels
            of the file and no further than the ink stays inside.
        **kwargs: arguments of `Images`; ``folds`` is refused, and ``val_size`` has no effect.
    """

    channels, image_size = 1, 28

    def __init__(
        self,
        root: str | None = None,
        download: bool = True,
        image_size: int = 28,
        centred: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.division.refuse_folds(type(self).__name__)
        if type(self) is Drawings:
            raise ValueError("Drawings has no images: name Omniglot or OmniglotOneShot")
        if self.finish.resize is not None:
            raise ValueError(f"resize {self.finish.resize}: drawings have image_size; set that")
        if image_size < 1:
            raise ValueError(f"image_size {image_size} must be at least 1")
        self.image_size, self.centred, self.download = image_size, centred, download

    def folders(self) -> list[str]:
        """Names of the folders that are read, below `FOLDER`."""
        raise ValueError(f"{type(self).__name__} must name its folders")

    def prepare_data(self) -> None:
        """Fetch missing folders, in one process per machine.

        Raises:
            MissingDataError: data is missing, and cannot or may not be fetched.
        """
        for folder in self.folders():
            if not self.place(folder).is_dir():
                if not self.download:
                    raise self._missing(folder)
                fetch(self.root, self.place(folder), partial(_fetch, folder))

    def place(self, folder: str) -> Path:
        """Path of a folder of the data."""
        return location(self.root, FOLDER, folder)

    def read(self, files: Sequence[Path]) -> Tensor:
        """The drawings (N, 1, H, W) uint8 of files."""
        return drawings.read(files, self.image_size, self.centred)

    def checked(self) -> list[Path]:
        """Paths of the folders.

        Raises:
            MissingDataError: one is missing.
        """
        for folder in self.folders():
            if not self.place(folder).is_dir():
                raise self._missing(folder)
        return [self.place(folder) for folder in self.folders()]

    def _missing(self, folder: str) -> MissingDataError:
        return MissingDataError(
            f"{type(self).__name__} not found: looked for {self.place(folder)}\n"
            f"put the unpacked {_archive(folder)}.zip of brendenlake/omniglot there (fetched by "
            "itself with data.download=true and a network),\n"
            "or name the folder that holds it with data.root=DIR or GENLAB_DATA=DIR"
        )


class Omniglot(Drawings):
    """Background alphabets of Omniglot; whole alphabets are held out for validation.

    Labels are characters: 20 drawings each, by 20 people. Validation has other alphabets than
    training, and so no common label: it is measured by made-up one-shot trials, see `episodes`. An
    alphabet that stands in both small sets (Greek, Latin) counts once. There are no test images:
    the test is `OmniglotOneShot`, of ten further alphabets. ``index`` counts the drawings by
    alphabet, character and drawer.

    Args:
        background: the alphabets: ``all`` 30, 19,280 drawings; ``small1`` or ``small2``, five each;
            ``small``: both, eight different ones, 4,840 drawings.
        val_alphabets: alphabets held out, by name, or a number that are drawn by ``split_seed``
            from those with ``ways`` characters; 0 for none.
        ways: characters of a made-up trial.
        **kwargs: arguments of `Drawings`.

    Raises:
        ValueError: an unknown alphabet, or none left for training.

    Source: Lake, Salakhutdinov, Tenenbaum 2015, Science 350; the small sets are the authors' for
    learning from less.
    """

    def __init__(
        self,
        background: Literal["all", "small1", "small2", "small"] = "small",
        val_alphabets: int | list[str] = 2,
        ways: int = WAYS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_names("background", [background], BACKGROUNDS)
        if isinstance(val_alphabets, int) and val_alphabets < 0:
            raise ValueError(f"val_alphabets {val_alphabets} must be 0 or more")
        if ways < 2:
            raise ValueError(f"ways {ways} must be at least 2")
        self.background, self.val_alphabets, self.ways = background, val_alphabets, ways
        self.num_classes = CHARACTERS[background]
        self._held: dict[str, np.ndarray] = {}  # alphabet -> (K, D) rows of the validation images

    def folders(self) -> list[str]:
        """Names of the folders of alphabets."""
        return list(BACKGROUNDS[self.background])

    def sources(self) -> dict[str, Source]:
        """Drawings of the alphabets to train on, and of those held out; no test images."""
        every = drawings.characters(self.checked())
        held = self._hold_out(every)
        files, label = list[Path](), list[int]()
        rows: dict[str, list[int]] = {"train": [], "val": []}
        self._held = {}
        for alphabet, letters in every.items():
            grid = list[list[int]]()
            for drawn in letters.values():
                grid.append(list(range(len(files), len(files) + len(drawn))))
                label += [label[-1] + 1 if label else 0] * len(drawn)
                files += drawn
            rows["val" if alphabet in held else "train"] += chain(*grid)
            if alphabet in held:
                self._held[alphabet] = _grid(alphabet, grid)
        whole = Pictures(self.read(files), torch.tensor(label))
        shape = (1, self.image_size, self.image_size)
        whole.check(f"{type(self).__name__} {self.background}", shape, self.num_classes)
        parts = {**rows, "test": []}
        return {name: whole.subset(torch.tensor(part).long()) for name, part in parts.items()}

    def episodes(self, split: str) -> Episodes | None:
        """Made-up one-shot trials of the held-out alphabets, always the same; None elsewhere.

        A trial has ``ways`` characters of one alphabet, each drawn by one person, and the same
        characters drawn by another, as in the official test; `TRIALS` of every alphabet.
        """
        self.setup()
        grids = [grid for grid in self._held.values() if len(grid) >= self.ways]
        if split != "val" or not grids:
            return None
        return episodes.made(grids, self.ways, TRIALS, self.division.seed)

    def _hold_out(self, every: dict[str, dict[str, list[Path]]]) -> set[str]:
        """Names of the alphabets held out."""
        if isinstance(self.val_alphabets, int):
            large = [name for name, letters in every.items() if len(letters) >= self.ways]
            order = np.random.default_rng(self.division.seed).permutation(len(large))
            held = {large[k] for k in order[: self.val_alphabets]}
            if len(held) < self.val_alphabets:
                raise ValueError(
                    f"val_alphabets {self.val_alphabets} exceeds the {len(large)} alphabets "
                    f"of {self.ways} characters"
                )
        else:
            check_names("val_alphabets", self.val_alphabets, every, "alphabet")
            held = set(self.val_alphabets)
        if len(held) == len(every):
            raise ValueError(f"val_alphabets leaves none of the {len(every)} for training")
        return held


def _grid(alphabet: str, grid: list[list[int]]) -> np.ndarray:
    """Rows of an alphabet's drawings, (characters, drawers).

    Raises:
        BrokenDataError: characters with unlike numbers of drawings.
    """
    if len({len(rows) for rows in grid}) > 1:
        raise BrokenDataError(f"{alphabet}: characters have unlike numbers of drawings")
    return np.array(grid)


def _archive(folder: str) -> str:
    return ARCHIVES.get(folder, folder)


def _fetch(folder: str, root: Path) -> None:
    """Download and unpack a folder of the data below a new root."""
    into = root / FOLDER / (RUNS if folder == RUNS else "")
    name = f"{_archive(folder)}.zip"
    download_and_extract_archive(
        f"{Stock.download_url_prefix}/{name}",
        str(into),
        filename=Path(name).name,
        md5=Stock.zips_md5.get(folder),
        remove_finished=True,
    )
