"""Classifier: supervised training of an encoder and a linear head; also the judge of samples."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from genlab import networks, optim


class Classifier(L.LightningModule):
    """Cross entropy on labelled images.

    Args:
        num_classes: number of labels.
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: ``small_cnn`` or a timm name; see `networks.encoder`.
        optimizer: how to train; see `optim.build`.
        encoder_kwargs: to the encoder (``stem``, ``width`` ...).

    Raises:
        ValueError: fewer than two classes, or an unknown encoder.
    """

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 1,
        image_size: int = 28,
        encoder: str = "small_cnn",
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {num_classes}")
        self.encoder = networks.encoder(
            encoder, in_chans=channels, image_size=image_size, **(encoder_kwargs or {})
        )
        self.head = nn.Linear(self.encoder.out_dim, num_classes)
        self.accuracy = MulticlassAccuracy(num_classes, average="micro", ignore_index=-1)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F)."""
        return self.encoder(image)

    def logits(self, image: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the classes: (B, C, H, W) -> (B, K)."""
        return self.head(self.encoder(image))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy in nats and accuracy, means over the batch's labelled images."""
        logits, label = self.logits(batch["image"]), batch["label"]
        known = (label >= 0).sum().clamp(min=1)  # unlabelled images, -1, count for nothing
        right = (logits.argmax(1) == label).sum() / known
        loss = F.cross_entropy(logits.float(), label, ignore_index=-1, reduction="sum") / known
        return {"loss": loss, "accuracy": right}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Loss and accuracy."""
        self._evaluate(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """As validation."""
        self._evaluate(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])

    def _evaluate(self, batch: dict[str, Any], split: str) -> None:
        logits, label = self.logits(batch["image"]), batch["label"]
        self.accuracy.update(logits, label)
        options: dict[str, Any] = {"batch_size": len(label), "on_step": False, "on_epoch": True}
        loss = F.cross_entropy(logits, label, ignore_index=-1)
        self.log(f"{split}/loss", loss, sync_dist=True, **options)
        self.log(f"{split}/accuracy", self.accuracy, **options)
