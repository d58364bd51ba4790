"""kNN accuracy of the features during training."""

from __future__ import annotations

import sys
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import distributed
from genlab.contracts import DataModule, data_of
from genlab.metrics import KNN, Bank, collect, merge
from genlab.training.engine.checkpointing import Checkpoints

FIGURES = ("val/knn_top1", "val/knn_top5")


class OnlineKNN(L.Callback):
    """``val/knn_top1`` (and ``top5``) at every validation: `metrics.KNN` of the validation images.

    For methods whose ``validation_step`` returns a ``feature`` (B, F) and whose ``forward`` gives
    the same of any image. The neighbours are training images without augmentation; everything is
    encoded in eval mode and without gradient. Where labels are unknown there is no metric, and
    `Checkpoints` selects nothing by it; one line says so.

    Args:
        k: neighbours that vote.
        temperature: temperature of their weights; see `metrics.knn_scores`.
        bank: largest number of training images, evenly spaced; those with labels.

    Attributes:
        seen: features of training and of validation images, all ranks', for callbacks that come
            later in the same validation; None at any other time.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(self, k: int = 20, temperature: float = 0.07, bank: int = 10_000) -> None:
        KNN(2, k, temperature)  # refuses what is out of range
        if bank < 1:
            raise ValueError(f"OnlineKNN.bank must be at least 1, got {bank}")
        self.k, self.temperature, self.bank = k, temperature, bank
        self._queries: list[tuple[Tensor, Tensor, Tensor]] = []
        self._blind = False  # there are no labels
        self.seen: tuple[Bank, Bank] | None = None

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._queries = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, dict) and "feature" in outputs and not self._blind:
            feature = outputs["feature"].flatten(1).float()
            self._queries.append((feature, batch["label"], batch["index"]))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not self._queries:
            return
        features, label, index = (torch.cat(part) for part in zip(*self._queries, strict=True))
        self._queries = []
        known = int(distributed.all_reduce_sum((label >= 0).sum()))
        bank = self._encode(trainer, pl_module).labelled() if known else None
        if bank is None or not len(bank.label):
            self._give_up(trainer)
            return
        classes = _data(trainer).num_classes
        metric = KNN(classes, min(self.k, len(bank.label)), self.temperature)
        metric.set_bank(bank)
        metric.update(features, label, index)
        self.seen = bank, merge(features, label, index)
        values = {f"val/{k}": v.float() for k, v in metric.compute().items()}
        pl_module.log_dict(values, sync_dist=True)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seen = None

    def _encode(self, trainer: L.Trainer, method: L.LightningModule) -> Bank:
        """Encode training images by the current weights."""
        data = _data(trainer)
        loader = data.bank_dataloader("train", shard=True, most=self.bank)
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            return collect(method, (data.to_device(raw, method.device) for raw in loader))

    def _give_up(self, trainer: L.Trainer) -> None:
        """Without labels, stop measuring and select nothing by the metric."""
        self._blind = True
        selects = False
        for keeper in trainer.checkpoint_callbacks:
            if isinstance(keeper, Checkpoints) and keeper.monitor in FIGURES:
                keeper.monitor, selects = None, True
        if trainer.is_global_zero:
            end = "; last.ckpt is the result" if selects else ""
            print(f"no labels, no {FIGURES[0]}{end}", file=sys.stderr)


def _data(trainer: L.Trainer) -> DataModule:
    """The data, which must have a face as genlab's own.

    Raises:
        ValueError: they have not.
    """
    data = data_of(trainer)
    if not isinstance(data, DataModule):
        raise ValueError("OnlineKNN requires a data module with bank_dataloader and to_device")
    return data
