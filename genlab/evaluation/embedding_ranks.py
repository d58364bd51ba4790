"""RankMe and LiDAR of a trained method's embeddings, see `metrics.ranks`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.augment import Views
from genlab.contracts import Batch, Embeds
from genlab.metrics.ranks import LiDAR, RankMe

IMAGES, VIEWS = 1_000, 10  # of LiDAR
WIDEST = 4_096  # embeddings whose (D, D) matrices give their eigenvalues within a minute or so


@torch.no_grad()
def embeddings_of_views(method: Embeds, views: Views, batch: Batch | Any, count: int) -> Tensor:
    """Embeddings of ``count`` fixed views of each image: (B, count, D)."""
    each = [method.embed(views.fixed(batch, number)) for number in range(count)]
    return torch.stack(each, 1)


@torch.no_grad()
def embedding_ranks(method: Any, data: Any) -> dict[str, Any]:
    """Ranks of the embeddings of test images; nothing without ``embed``, or of wider than `WIDEST`.

    Args:
        method: method in eval mode.
        data: its data module; without ``views`` there is no LiDAR.

    Logs:
        test/rankme (directions, higher): RankMe of the embeddings of test images: exp(-sum_i p_i
            log p_i), p_i the singular values' shares + 1e-7; 1 to the embeddings' width.
        test/lidar (directions, higher): LiDAR of the embeddings of views: directions in which
            images differ more than their views do; less than test/lidar_images.
        test/lidar_images, test/lidar_views (setting): number of images, and of views of each, of
            test/lidar.

    Returns:
        Metrics by their names.
    """
    device, views, seen = method.device, getattr(data, "views", None), 0
    if not isinstance(method, Embeds):
        return {}
    rankme: RankMe | None = None
    lidar: LiDAR | None = None
    for raw in data.bank_dataloader("test"):
        batch = data.to_device(raw, device)
        embedding = method.embed(batch["image"])
        dim = embedding.shape[1]
        if dim > WIDEST:
            return {}
        rankme = rankme or RankMe(dim).to(embedding.device)
        lidar = lidar or LiDAR(dim).to(embedding.device)
        rankme.update(embedding)
        first = {key: batch[key][: IMAGES - seen] for key in ("image", "index")}
        if isinstance(views, Views) and len(first["index"]):
            lidar.update(embeddings_of_views(method, views, first, VIEWS))
            seen += len(first["index"])
    if rankme is None or lidar is None:
        return {}
    found: dict[str, Any] = {"rankme": float(rankme.compute())}
    if seen < 2:
        return found
    settings = {"lidar_images": seen, "lidar_views": VIEWS}
    return found | {"lidar": float(lidar.compute())} | settings
