"""Ranks of the embeddings that predict the accuracy of a linear probe without labels."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor

from genlab import distributed
from genlab.augment import Views
from genlab.contracts import Embeds, data_of
from genlab.evaluation.embedding_ranks import embeddings_of_views
from genlab.metrics.ranks import LiDAR, RankMe, share_of


class EmbeddingRanks(L.Callback):
    """``val/rankme`` and ``val/lidar`` at every validation, see `metrics.RankMe` and `LiDAR`.

    RankMe is of the ``embedding`` (B, D) that ``validation_step`` returns, of unaltered images;
    LiDAR of what ``embed`` makes of several large views of the first images, the same views in
    every validation and for any number of processes. Ignored for methods without them; LiDAR also
    for data without ``views``. No labels are used.

    Args:
        images: number n of images for LiDAR, whose value is at most n - 1; 0 for no LiDAR, which
            costs n q forward passes at every validation.
        views: number q of views of each of them.
        widest: largest width D of embeddings that are measured: both need (D, D) matrices and
            their eigenvalues.

    Logs:
        val/rankme (directions, higher): RankMe of the embeddings of validation images: exp(-sum_i
            p_i log p_i), p_i the singular values' shares + 1e-7; 1 to D.
        val/lidar (directions, higher): LiDAR of the embeddings of views: directions in which images
            differ more than their views do; at most D, and less than the number of images.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(self, images: int = 0, views: int = 10, widest: int = 2048) -> None:
        if images < 2 and images != 0:
            raise ValueError(f"EmbeddingRanks.images must be 0 or at least 2, got {images}")
        if views < 2:
            raise ValueError(f"EmbeddingRanks.views must be at least 2, got {views}")
        if widest < 1:
            raise ValueError(f"EmbeddingRanks.widest must be at least 1, got {widest}")
        self.images, self.views, self.widest = images, views, widest
        self._rankme: RankMe | None = None
        self._lidar: LiDAR | None = None
        self._seen = 0  # images of this process

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._rankme, self._lidar, self._seen = None, None, 0

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(outputs, dict) or "embedding" not in outputs:
            return
        embedding: Tensor = outputs["embedding"]
        dim = embedding.shape[1]
        if dim > self.widest:
            return
        self._rankme = self._rankme or RankMe(dim).to(embedding.device)
        self._rankme.update(embedding)
        views = getattr(data_of(trainer), "views", None)
        if not self.images or not isinstance(views, Views) or not isinstance(pl_module, Embeds):
            return
        self._lidar = self._lidar or LiDAR(dim).to(embedding.device)
        rest = max(0, share_of(self.images) - self._seen)
        first = {key: batch[key][:rest] for key in ("image", "index")}
        self._seen += len(first["index"])
        if len(first["index"]):
            with trainer.precision_plugin.forward_context():
                self._lidar.update(embeddings_of_views(pl_module, views, first, self.views))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = {"val/rankme": self._rankme, "val/lidar": self._lidar}
        found = {name: metric for name, metric in metrics.items() if metric is not None}
        if self._lidar is not None and int(distributed.all_reduce_sum(self._lidar.images)) < 2:
            del found["val/lidar"]
        values = {name: metric.compute().float() for name, metric in found.items()}
        pl_module.log_dict(values, sync_dist=True)
        self._rankme, self._lidar = None, None  # (D, D) matrices
