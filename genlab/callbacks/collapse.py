"""An alarm for embeddings that no longer tell images apart."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch import Tensor

from genlab.metrics.embedding import EmbeddingSpread


class CollapseAlarm(L.Callback):
    """``val/embedding_std`` and ``val/effective_rank``, and a warning when they say collapse.

    For methods whose ``validation_step`` returns an ``embedding`` (B, D). Both figures are of
    embeddings of length one, over the whole split and all ranks. Methods without negatives can
    answer every image alike, and their loss then looks best. The alarm says so when it begins, and
    once more when it is over.

    Args:
        std_share: alarm below this share of 1 / sqrt(D), the standard deviation of directions that
            are spread evenly.
        rank_share: alarm below this share of min(D, N), the highest rank of N embeddings.
        after_epochs: an untrained network's embeddings are alike too: no alarm before.

    Raises:
        ValueError: a share outside [0, 1], or negative epochs.
    """

    def __init__(
        self, std_share: float = 0.3, rank_share: float = 0.05, after_epochs: int = 5
    ) -> None:
        for name, share in {"std_share": std_share, "rank_share": rank_share}.items():
            if not 0 <= share <= 1:
                raise ValueError(f"CollapseAlarm.{name} must be in [0, 1], got {share}")
        if after_epochs < 0:
            raise ValueError(f"CollapseAlarm.after_epochs must be at least 0, got {after_epochs}")
        self.std_share, self.rank_share, self.after_epochs = std_share, rank_share, after_epochs
        self.collapsed = False
        self._spread: EmbeddingSpread | None = None

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
        if self._spread is None:
            self._spread = EmbeddingSpread(embedding.shape[1]).to(embedding.device)
        self._spread.update(embedding)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._spread is None:
            return
        values = {name: value.float() for name, value in self._spread.compute().items()}
        pl_module.log_dict({f"val/{name}": value for name, value in values.items()})
        self._spread.reset()
