"""Programs that run on one process and on two ranks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from genlab.networks.clusters import spherical_kmeans
from tests.losses.golden_embeddings import x


def clustered(rank: int, world: int) -> Any:
    """Centroids and clusters of 39 vectors, which two ranks share as 20 and 19."""
    rows = F.normalize(x(0, 39, 8), dim=1)
    return torch.cat([part.flatten().double() for part in spherical_kmeans(rows, rows[:5], 10)])
