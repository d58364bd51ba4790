"""Programs that tests run on one process and on two."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.metrics import FrechetDistance, InceptionScore, kernel_distance, manifold_overlap, merge


def figures(rank: int, world: int) -> dict[str, Tensor]:
    """Every figure of generated images, of 301 samples and 257 real images, dealt to the ranks."""
    fake, real = torch.randn(301, 12), torch.randn(257, 12) * 1.3 + 0.2
    logits = 3 * torch.randn(301, 5)
    frechet, score = FrechetDistance(12), InceptionScore(5)
    sets = []
    for rows, is_real in ((fake, False), (real, True)):
        mine = torch.arange(len(rows))[rank::world]
        for part in mine.split(40):
            frechet.update(rows[part], is_real)
            if not is_real:
                score.update(logits[part], part)
        sets.append(merge(rows[mine], mine, mine).features)
    found = {"fid": frechet.compute()} | score.compute()
    kept = kernel_distance(sets[0], sets[1], 5, 100) | manifold_overlap(sets[0], sets[1])
    return found | {name: torch.tensor(value) for name, value in kept.items()}
