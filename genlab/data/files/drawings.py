"""Omniglot's drawings: files in folders of alphabets, read as white ink on black."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from genlab.data.errors import BrokenDataError
from genlab.errors import first_line

DARK = 128  # files are black ink on white paper: what is darker is ink
CHUNK = 1024  # drawings resized at a time


def characters(folders: Sequence[Path]) -> dict[str, dict[str, list[Path]]]:
    """Alphabet -> character -> its drawings in the order of the drawers, each sorted by name.

    Args:
        folders: folders of alphabets; of an alphabet that two have, the first's is taken.
    """
    found: dict[str, dict[str, list[Path]]] = {}
    for folder in folders:
        for alphabet in _folders(folder):
            if alphabet.name not in found:
                every = _folders(alphabet)
                found[alphabet.name] = {one.name: sorted(one.glob("*.png")) for one in every}
    return dict(sorted(found.items()))


def read(files: Sequence[Path], side: int, centred: bool) -> Tensor:
    """Drawings as bytes: ink 255, paper 0.

    Args:
        files: images of one size.
        side: side in pixels to which they are scaled, bilinear and antialiased.
        centred: True to move the ink's centre of mass to the middle first, see `centre`.

    Returns:
        (N, 1, side, side) uint8.

    Raises:
        BrokenDataError: a file that cannot be read, or of another size than the first.
    """
    done = [
        _resized(np.stack(_inks(files[start : start + CHUNK])), side, centred)
        for start in range(0, len(files), CHUNK)
    ]
    return torch.cat(done) if done else torch.empty((0, 1, side, side), dtype=torch.uint8)


def centre(ink: np.ndarray) -> np.ndarray:
    """Move a drawing by whole pixels so that its centre of mass is as near the middle as it can be.

    No ink leaves the image.

    Args:
        ink: (H, W) bool.
    """
    moves = []
    for axis in (0, 1):
        used = np.flatnonzero(ink.any(1 - axis))
        if not len(used):
            return ink
        mass = ink.sum(1 - axis)
        middle = (ink.shape[axis] - 1) / 2
        wanted = round(middle - float(mass @ np.arange(len(mass))) / float(mass.sum()))
        moves.append(min(max(wanted, -int(used[0])), ink.shape[axis] - 1 - int(used[-1])))
    return np.roll(ink, moves, (0, 1))


def _folders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir())


def _inks(files: Sequence[Path]) -> list[np.ndarray]:
    """(H, W) bool of each file: where there is ink."""
    found = list[np.ndarray]()
    for file in files:
        try:
            with Image.open(file) as image:
                found.append(np.asarray(image.convert("L")) < DARK)
        except (OSError, ValueError, SyntaxError) as error:
            raise BrokenDataError(f"{file} cannot be read: {first_line(error)}") from None
        if found[-1].shape != found[0].shape:
            size, first = found[-1].shape, found[0].shape
            raise BrokenDataError(f"{file} has {size} pixels, {files[0]} has {first}")
    return found


def _resized(ink: np.ndarray, side: int, centred: bool) -> Tensor:
    """(N, H, W) bool -> (N, 1, side, side) uint8."""
    every = np.stack([centre(one) for one in ink]) if centred else ink
    grey = torch.from_numpy(every)[:, None].float()
    if grey.shape[2:] != (side, side):
        grey = F.interpolate(grey, (side, side), mode="bilinear", antialias=True)
    return grey.mul_(255).round_().to(torch.uint8)
