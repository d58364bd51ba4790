"""Image of the training images that are nearest to validation images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.callbacks.online_knn import OnlineKNN
from genlab.contracts import DataModule, HasWholeImages, data_of
from genlab.data.sampling import evenly
from genlab.drawing.may_fail import may_fail
from genlab.drawing.retrieval import retrieved
from genlab.metrics import Bank, collect, neighbours
from genlab.networks.modes import evaluating
from genlab.training.tracking.shown import publish


class Found(NamedTuple):
    """Some validation images and the training images nearest to each."""

    query: Bank  # (N, F)
    position: Tensor  # of the training images in their data set, (N, k)
    label: Tensor  # of those, (N, k)
    cosine: Tensor  # (N, k)
    step: int  # of the weights that gave the features


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

    def __init__(self, count: int = 8, neighbours: int = 8, bank: int = 10_000) -> None:
        for name, value in {"count": count, "neighbours": neighbours, "bank": bank}.items():
            if value < 1:
                raise ValueError(f"RetrievalPictures.{name} must be at least 1, got {value}")
        self.count, self.neighbours, self.bank = count, neighbours, bank
        self._found: Found | None = None
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
            self._found = self._search(*seen, trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data = data_of(trainer)
        if not self._suits or not isinstance(data, DataModule):
            return
        if not isinstance(data, HasWholeImages):
            return
        if self._found is None:
            self._found = self._search(
                *self._encoded(trainer, pl_module, data), trainer.global_step
            )
        if trainer.is_global_zero:
            with may_fail("pictures/retrieval.png"):
                publish(trainer, "retrieval", drawn(self._found, data))
        self._found = None

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

    def _search(self, train: Bank, val: Bank, step: int) -> Found:
        chosen = evenly(torch.arange(len(val.label)), val.label.cpu(), self.count)
        query = Bank(*(part[chosen.to(part.device)] for part in val))
        near, own = (F.normalize(bank.features.float(), dim=1) for bank in (train, query))
        distance, rows = neighbours(own, near, min(self.neighbours, len(train.label)))
        return Found(
            Bank(*(part.cpu() for part in query)),
            train.position[rows].cpu(),
            train.label[rows].cpu(),
            (1 - distance.square() / 2).cpu(),
            step,
        )


def drawn(found: Found, data: Any) -> np.ndarray:
    """The image: (H, W, 3) bytes.

    Args:
        found: images by their positions.
        data: data module that has them.
    """
    query = data.to_device(data.whole(found.query.position, "val"))["image"]
    near = data.to_device(data.whole(found.position.flatten(), "train"))["image"]
    near = near.unflatten(0, found.position.shape)
    own, other = found.query.label[:, None], found.label
    agrees = torch.where((own < 0) | (other < 0), -1, (own == other).long())
    names = list(getattr(data, "classes", ()))
    rows = zip(*(one.tolist() for one in (found.query.label, other, found.cosine)), strict=True)
    captions = [
        [_named(mine, names), *map(partial(_caption, names), *theirs)] for mine, *theirs in rows
    ]
    title = f"step {found.step:,}: validation images; nearest training images by cosine of features"
    return retrieved(query, near, agrees, captions, title)


def _caption(names: Sequence[str], label: int, cosine: float) -> str:
    return f"{_named(label, names)} ({cosine:.2f})".strip()


def _named(label: int, names: Sequence[str]) -> str:
    if label < 0:
        return ""
    return names[label] if label < len(names) else str(label)
