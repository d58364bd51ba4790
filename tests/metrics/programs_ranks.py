"""RankMe and LiDAR of embeddings that the ranks share as loaders do."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.metrics import LiDAR, RankMe


def ranks(rank: int, world: int) -> dict[str, Tensor]:
    """Of 101 images in batches of 20 over all ranks; RankMe of the first 71."""
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(101, 4, 6, generator=generator, dtype=torch.float64)
    z = z + 2 * torch.randn(101, 1, 6, generator=generator, dtype=torch.float64)
    rankme, lidar = RankMe(6, most=71), LiDAR(6)
    for part in z[rank::world].split(20 // world):
        rankme.update(part[:, 0])
        lidar.update(part)
    return {"rankme": rankme.compute(), "lidar": lidar.compute()}
