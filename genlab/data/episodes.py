"""Made-up trials of one-shot classification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from genlab.contracts import Episodes


def made(grids: Sequence[np.ndarray], ways: int, trials: int, seed: int) -> Episodes:
    """Trials within one alphabet, of images by one drawer against those by another.

    Args:
        grids: rows of each alphabet's images in its split, (characters, drawers).
        ways: W, characters of a trial, at most those of each alphabet.
        trials: trials of each alphabet.
        seed: seed of characters and drawers.

    Returns:
        len(grids) x trials of them, each with W images to learn from and W to classify.
    """
    draw = np.random.default_rng(seed)
    support, query = list[np.ndarray](), list[np.ndarray]()
    for grid in grids:
        for _ in range(trials):
            character = draw.permutation(len(grid))[:ways]
            teacher, pupil = draw.permutation(grid.shape[1])[:2]
            support.append(grid[character, teacher])
            query.append(grid[character, pupil])
    answer = torch.arange(ways).expand(len(support), ways)
    shown, asked = (torch.from_numpy(np.stack(part)).long() for part in (support, query))
    return Episodes(shown, asked, answer, "val", "val")
