"""Alarm for collapsed embeddings, which no longer distinguish images."""

from __future__ import annotations

import math
import sys
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import distributed, process
from genlab.contracts import KnowsCollapse, data_of
from genlab.metrics.embedding import EmbeddingSpread

FEWEST = 8.0  # directions, below which no embeddings are healthy
FEW = 50  # validation images, fewer of which measure no ranks
NEW = 0.1  # share of the last step's loss in the running mean
NEAR = 0.01  # of a loss that equal embeddings have
LEAST_SPREAD = 0.05  # of standardised tokens: 0.25 % of their variance tells images apart
SHRUNK = 0.2  # of a method's healthy scale, below which its embeddings tend to 0
BEGUN = "the embeddings of different images collapse into few directions"
OVER = "the embeddings have spread again"
ADVICE = (
    "check predictor and stop-gradient, then try a lower learning rate, a higher ema_decay, "
    "batch norm in the heads"
)


class CollapseAlarm(L.Callback):
    """``val/embedding_std`` and ``val/effective_rank``, and a warning when they say collapse.

    For methods whose ``validation_step`` returns an ``embedding`` (B, D). Both metrics are of
    embeddings of length one, over the whole split and all ranks; see `EmbeddingSpread`. A method
    without negatives can map all images to one point, where its loss is lowest; behind batch norm
    the standard deviation cannot fall, and only the rank shows it. A warning is given when a
    collapse begins, and a line when it is over.

    A method without embeddings names a metric of its own that falls to 0 in a collapse:
    ``spread_metric``, as I-JEPA's ``target_std``.

    Args:
        std_share: alarm below this share of 1 / sqrt(D), the standard deviation of directions
            spread evenly.
        rank_share: alarm below this share of the highest effective rank of the run so far; in any
            case below `FEWEST`, or sqrt(min(D, N)) of N images where that is less. Where a method
            has a ``healthy_rank``, as SupCon with one direction less than classes, this share of it
            is enough. A ``spread_metric`` is below this share of its highest value, or below
            `LEAST_SPREAD`.
        after_steps: optimiser steps before the first alarm: untrained networks look collapsed too.

    Logs:
        val/embedding_std (length, higher): standard deviation of embeddings of length one over the
            split, mean over dimensions: 1 / sqrt(D) when spread evenly, 0 after a collapse.
        val/effective_rank (directions, higher): directions that the embeddings use: exp(-sum_i p_i
            log p_i), p_i the singular values' shares; 1 to D.

    Raises:
        ValueError: a share outside [0, 1], or negative steps.
    """

    def __init__(
        self, std_share: float = 0.5, rank_share: float = 0.45, after_steps: int = 100
    ) -> None:
        for name, share in {"std_share": std_share, "rank_share": rank_share}.items():
            if not 0 <= share <= 1:
                raise ValueError(f"CollapseAlarm.{name} must be in [0, 1], got {share}")
        if after_steps < 0:
            raise ValueError(f"CollapseAlarm.after_steps must be at least 0, got {after_steps}")
        self.std_share, self.rank_share, self.after_steps = std_share, rank_share, after_steps
        self.collapsed, self.highest_rank, self.highest_spread = False, 0.0, 0.0
        self._spread: EmbeddingSpread | None = None
        self._loss: Tensor | None = None  # running mean on the device
        self._sums: Tensor | None = None  # (3, D): count, sum and squares of embeddings as they are

    def state_dict(self) -> dict[str, Any]:
        """The values with which later validations are compared."""
        names = ("collapsed", "highest_rank", "highest_spread")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.collapsed, self.highest_rank = state_dict["collapsed"], state_dict["highest_rank"]
        self.highest_spread = state_dict.get("highest_spread", 0.0)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say that a small validation split measures little."""
        splits = getattr(data_of(trainer), "splits", None)
        images = len(splits().get("val", ())) if callable(splits) else 0
        if trainer.limit_val_batches and 0 < images < FEW:
            process.note(
                f"{images} validation images: ranks, similarities and the alarm for collapse mean "
                f"little below {FEW}; data.val_size holds out more"
            )

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, dict) else None
        if loss is not None and isinstance(pl_module, KnowsCollapse):
            whole = loss.detach().float() * trainer.accumulate_grad_batches  # it comes divided
            self._loss = whole if self._loss is None else self._loss.lerp(whole, NEW)

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
        if hasattr(pl_module, "healthy_scale"):
            z = embedding.detach().double()
            sums = torch.stack([torch.ones_like(z).sum(0), z.sum(0), z.square().sum(0)])
            self._sums = sums if self._sums is None else self._sums + sums

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._spread is None:
            return
        values = {name: value.float() for name, value in self._spread.compute().items()}
        images = int(distributed.all_reduce_sum(self._spread.count))
        self._spread.reset()
        pl_module.log_dict({f"val/{k}": v for k, v in values.items()}, sync_dist=True)
        if trainer.state.fn == "fit":
            std, rank = float(values["embedding_std"]), float(values["effective_rank"])
            healthy = getattr(pl_module, "healthy_rank", math.inf)
            stuck = self._stuck(trainer, pl_module) + self._shrunk(pl_module)
            self._judge(trainer, std, rank, len(self._spread.total), images, healthy, stuck)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Judge the method's own metric, which is known once the epoch has ended."""
        name = getattr(pl_module, "spread_metric", None)
        if name is None or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        spread = float(trainer.callback_metrics[f"val/{name}"])
        self.highest_spread = max(self.highest_spread, spread)
        least = max(self.rank_share * self.highest_spread, LEAST_SPREAD)
        figures = f"val/{name} {spread:.3f} (at its highest {self.highest_spread:.3f})"
        self._tell(trainer, spread < self._slack * least, figures)

    def _stuck(self, trainer: L.Trainer, method: L.LightningModule) -> str:
        """The loss, where it is that of equal embeddings; else nothing."""
        size = getattr(data_of(trainer), "batch_size", None)
        if self._loss is None or size is None or not isinstance(method, KnowsCollapse):
            return ""
        constant = method.collapsed_loss(size // trainer.accumulate_grad_batches)
        loss = float(distributed.all_reduce_sum(self._loss)) / distributed.world_size()
        near = abs(loss - constant) <= NEAR * abs(constant)
        return f", train/loss {loss:.4g} (of equal embeddings {constant:.4g})" if near else ""

    def _shrunk(self, method: L.LightningModule) -> str:
        """The embeddings' scale, where it is far below the method's; else nothing."""
        if self._sums is None:
            return ""
        count, total, squares = distributed.all_reduce_sum(self._sums)
        self._sums = None
        scale = float((squares / count - (total / count).square()).clamp(min=0).mean().sqrt())
        healthy = float(getattr(method, "healthy_scale", 0.0))
        return f", scale {scale:.2g} (healthy {healthy:g})" if scale < SHRUNK * healthy else ""

    def _judge(
        self,
        trainer: L.Trainer,
        std: float,
        rank: float,
        dim: int,
        images: int,
        healthy: float = math.inf,
        stuck: str = "",
    ) -> None:
        self.highest_rank = max(self.highest_rank, rank)
        least_std = self.std_share / math.sqrt(dim)
        fewest = min(FEWEST, math.sqrt(min(dim, images)))
        least_rank = max(self.rank_share * self.highest_rank, fewest)
        least_rank = min(least_rank, self.rank_share * healthy)
        low = std < self._slack * least_std or rank < self._slack * least_rank
        figures = (
            f"effective rank {rank:.1f} (at its highest {self.highest_rank:.1f}, D = {dim}), "
            f"standard deviation {std:.3f} (evenly spread {dim**-0.5:.3f}){stuck}"
        )
        self._tell(trainer, low or bool(stuck), figures)

    @property
    def _slack(self) -> float:
        """Factor of the thresholds: no word at every crossing."""
        return 1.25 if self.collapsed else 1.0

    def _tell(self, trainer: L.Trainer, collapsed: bool, figures: str) -> None:
        if trainer.global_step < self.after_steps or collapsed == self.collapsed:
            return
        self.collapsed = collapsed
        if trainer.is_global_zero:
            text = f"{BEGUN}: {figures}; {ADVICE}" if collapsed else f"{OVER}: {figures}"
            print(f"step {trainer.global_step:,}: {text}", file=sys.stderr)
