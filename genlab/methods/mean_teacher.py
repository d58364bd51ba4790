"""Mean teacher: predict of one view what the average of past weights says of another.

Tarvainen, Valpola 2017, arXiv:1703.01780; reference code CuriousAI/mean-teacher.
Departures: the consistency loss is a sum over the K classes, where the code has a mean: its weight
here is the code's over K. It is taken on the unlabelled images, which are all images unless
``data.exclude_labeled`` says otherwise; the code adds the labelled ones of the batch. The average's
decay is at most 1 - 1 / (step + 1) from the start, as in the code for PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import losses, networks, optim
from genlab.augment.pairs import two_streams
from genlab.contracts import Batch
from genlab.metrics import ClassReport, log_steps
from genlab.networks.ema import ema_copy, ema_step


class MeanTeacher(L.LightningModule):
    """A classifier of few labelled and many unlabelled images; takes ``data.labels``.

    What it predicts, and what is validated and tested, is the teacher's; batch norm's running
    statistics are the teacher's own. The views are those of ``data.strong``: the student sees the
    strong one, the teacher the weak one; ``data.strong: null`` gives two weak ones, the paper's.

    Args:
        num_classes: number of labels K.
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of a backbone; see `networks.encoder`.
        consistency_weight: weight w of the consistency loss after its rise; the code's 100 on
            CIFAR-10 and SVHN is 10 here.
        rampup_steps: optimiser steps T over which the weight rises as exp(-5 (1 - t / T)^2).
        ema_decay: fraction of the teacher kept at each step.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``variant``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): loss_labeled + w loss_consistency, w after its rise.
        train/loss_labeled (nats, lower): cross entropy of the labelled images, of the student.
        train/loss_consistency (squared distance, lower): squared distance of the student's class
            probabilities from the teacher's, summed over classes, mean over unlabelled images: 0
            to 2.
        train/agreement (fraction, higher): share of unlabelled images to which student and teacher
            give one class.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        num_classes: int = 10,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "wrn_28_2",
        consistency_weight: float = 10.0,
        rampup_steps: int = 0,
        ema_decay: float = 0.999,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        _check(dict(self.hparams))
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.head = nn.Linear(self.encoder.out_dim, num_classes)
        self.encoder_ema, self.head_ema = ema_copy(self.encoder), ema_copy(self.head)
        self.class_report = ClassReport(num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use, the teacher's: (B, C, H, W) -> (B, F)."""
        return self.encoder_ema(image)

    def logits(self, image: Tensor) -> Tensor:
        """The teacher's scores of the classes before softmax: (B, C, H, W) -> (B, K)."""
        return self.head_ema(self.encoder_ema(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of B labelled images plus w times the inconsistency of M others."""
        image, label, weak, strong = two_streams(batch)
        logits = self.head(self.encoder(torch.cat([image, strong]))).float()  # BN sees all
        logits_x, logits_u = logits.split([len(image), len(strong)])  # (B, K), (M, K)
        with torch.no_grad():
            target = self.logits(weak).float()  # (M, K)

        loss_x = F.cross_entropy(logits_x, label)
        loss_u = losses.probability_distance(logits_u, target).mean()
        loss = loss_x + self.ramp() * self.hparams["consistency_weight"] * loss_u
        agreement = (logits_u.argmax(1) == target.argmax(1)).float().mean()
        found = {"loss_labeled": loss_x, "loss_consistency": loss_u, "agreement": agreement}
        return {"loss": loss} | found

    def ramp(self) -> float:
        """Share of the consistency's weight at this optimiser step."""
        steps = self.hparams["rampup_steps"]
        left = 1 - min(1.0, self.global_step / steps) if steps else 0.0
        return math.exp(-5 * left**2)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The teacher moves once per optimiser step, whatever the gradient accumulation."""
        super().optimizer_step(*args, **kwargs)
        self.after_step(self.global_step)

    def after_step(self, step: int) -> None:
        """Move the teacher after optimiser step number ``step`` (from 1)."""
        decay = min(self.hparams["ema_decay"], 1 - 1 / (step + 1))
        ema_step(self.encoder_ema, self.encoder, decay)
        ema_step(self.head_ema, self.head, decay)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The teacher's cross entropy in nats and `classification_metrics`."""
        self.class_report.update("val", self.logits(batch["image"]), batch["label"])

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As validation, with AUROC and the confusion matrix."""
        self.class_report.update("test", self.logits(batch["image"]), batch["label"])

    def on_validation_epoch_end(self) -> None:
        """Metrics of the whole split, over all ranks."""
        self.log_dict(self.class_report.compute("val"), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """As validation."""
        self.log_dict(self.class_report.compute("test"), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])


def _check(given: dict[str, Any]) -> None:
    """Validate arguments; the encoder validates its own.

    Raises:
        ValueError: an argument is out of range; the message gives the range.
    """
    if given["num_classes"] < 2:
        raise ValueError(f"num_classes must be at least 2, got {given['num_classes']}")
    if not 0 <= given["ema_decay"] < 1:
        raise ValueError(f"ema_decay must be in [0, 1), got {given['ema_decay']}")
    for name in ("consistency_weight", "rampup_steps"):
        if given[name] < 0:
            raise ValueError(f"{name} must be at least 0, got {given[name]}")
