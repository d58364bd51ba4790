"""Image of the training images that are nearest to validation images."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch

from genlab.callbacks.online_knn import OnlineKNN
from genlab.contracts import DataModule, HasWholeImages, data_of
from genlab.drawing.may_fail import may_fail
from genlab.evaluation.retrieval import COLUMNS, ROWS, Found, picture, search
from genlab.metrics import Bank, collect
from genlab.networks.modes import evaluating
from genlab.training.tracking.shown import publish


class RetrievalPictures(L.Callback):
    """``pictures/retrieval.png``: validation images, each with the training images nearest to it.

    A row for each of ``count`` images, evenly spaced over the validation images; from left to right
    the training images whose features (of ``forward``) have the largest cosine with its own, in a
    blue frame if they have its label, in an orange one if they have another. Drawn at the end of
    training, of the last validation's features, which are those of `OnlineKNN`, where it comes
    earlier in the list; without it or without labels the features are computed at the end. For
    methods whose ``validation_step`` returns a ``feature``, and data that find images by position.

    Args:
        count: number of rows.
        neighbours: number of training images in a row.
        bank: largest number of training images, evenly spaced, where `OnlineKNN` gives none.

    Raises:
        ValueError: a setting below 1.
    """

    def __init__(self, count: int = ROWS, neighbours: int = COLUMNS, bank: int = 10_000) -> None:
        for name, value in {"count": count, "neighbours": neighbours, "bank": bank}.items():
            if value < 1:
                raise ValueError(f"RetrievalPictures.{name} must be at least 1, got {value}")
        self.count, self.neighbours, self.bank = count, neighbours, bank
        self._found: Found | None = None
        self._step = 0  # of the weights that gave the features
        self._suits = False  # the method gives features

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._suits = isinstance(outputs, dict) and "feature" in outputs

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        seen = next((c.seen for c in callbacks if isinstance(c, OnlineKNN) and c.seen), None)
        if seen is not None and trainer.state.fn == "fit":
            self._search(trainer, *seen)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data = data_of(trainer)
        if not self._suits or not isinstance(data, DataModule):
            return
        if not isinstance(data, HasWholeImages):
            return
        if self._found is None:
            self._search(trainer, *self._encoded(trainer, pl_module, data))
        if trainer.is_global_zero and self._found is not None:
            with may_fail("pictures/retrieval.png"):
                self._draw(trainer, self._found, data)
        self._found = None

    def _draw(self, trainer: L.Trainer, found: Found, data: Any) -> None:
        title = (
            f"step {self._step:,}: validation images; nearest training images by features (cosine)"
        )
        drawn = picture(found, data, "val", title)
        if drawn is not None:
            publish(trainer, "retrieval", drawn)

    def _search(self, trainer: L.Trainer, train: Bank, val: Bank) -> None:
        self._found = search(train, val, self.count, self.neighbours)
        self._step = trainer.global_step

    def _encoded(
        self, trainer: L.Trainer, method: L.LightningModule, data: DataModule
    ) -> tuple[Bank, Bank]:
        """Features of training and of some validation images, the same on every rank."""
        context = trainer.precision_plugin.forward_context
        with evaluating(method), torch.no_grad(), context():
            train, val = (
                collect(
                    method,
                    (
                        data.to_device(raw, method.device)
                        for raw in data.bank_dataloader(split, shard=True, most=most)
                    ),
                )
                for split, most in (
                    ("train", self.bank),
                    ("val", max(self.count, trainer.world_size)),
                )
            )
        return train, val
