"""DINO: a student agrees with its own average about the views of an image.

Caron, Touvron, Misra, Jegou, Mairal, Bojanowski, Joulin 2021, arXiv:2104.14294; reference code
facebookresearch/dino.
Departures: the centre moves at the optimiser's step, by the mean over the batches accumulated for
it; the teacher has neither dropout nor drop path; class token and position embeddings have no
weight decay, and the first step of a warm-up has a rate above 0 (`optim.build`).

A batch larger than memory is ``trainer.accumulate_grad_batches``: without batch norm its gradient
and its centre are exactly those of the whole, for the loss is a mean over images.

On several devices set ``trainer.sync_batchnorm`` where encoder or head have batch norm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.pairs import crops, large
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.metrics.embedding import similarities
from genlab.networks import modes, multicrop
from genlab.networks.ema import cosine_to_one, ema_copy, ema_step
from genlab.networks.pending import Pending
from genlab.networks.prototypes import Prototypes, small_start


class DINO(L.LightningModule):
    """Self-distillation: the teacher sees the large views, the student all of them.

    The centre is that of the batch of all processes. Probes and export read ``encoder``, the
    student's; ``pretrained_options: {take: ema}`` loads the teacher's from a run, which the paper
    evaluates.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector.
        projector_norm: ``batch``, ``layer`` or null, between its layers.
        prototypes: K, number of outputs.
        train_gain: True to train the length of each prototype; it begins at 1.
        temperature: tau of the student.
        teacher_temperature: T of the teacher; collapse to the uniform distribution follows from
            one that is too high.
        warmup_temperature: T at the start; null for no warm-up.
        temperature_epochs: epochs in which T goes from ``warmup_temperature`` to
            ``teacher_temperature`` in equal steps, one an epoch.
        centre_decay: fraction of the centre kept at each step.
        ema_decay: m of the teacher at the start; it rises to 1 along a cosine.
        freeze_steps: optimiser steps at the start in which the prototypes stay as drawn.
        teacher_features: True for features of the teacher in `forward` and validation.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``drop_path_rate`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): cross entropy of the teacher's distribution of a large view with
            the student's of another view; mean over the batch and all such pairs.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps
    centre: Tensor

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 2048, 256),
        projector_norm: str | None = None,
        prototypes: int = 65536,
        train_gain: bool = False,
        temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        warmup_temperature: float | None = None,
        temperature_epochs: int = 0,
        centre_decay: float = 0.9,
        ema_decay: float = 0.996,
        freeze_steps: int = 0,
        teacher_features: bool = False,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        losses.check_self_distillation(self.hparams)
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = small_start(
            networks.mlp(
                self.encoder.out_dim, *projector_dims, activation="gelu", norm=projector_norm
            )
        )
        self.prototypes = Prototypes(projector_dims[-1], prototypes, train_gain)
        self.encoder_ema = ema_copy(self.encoder, noise=False)
        self.projector_ema = ema_copy(self.projector, noise=False)
        self.prototypes_ema = ema_copy(self.prototypes)
        self.register_buffer("centre", torch.zeros(prototypes))
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.warmup_temperature, self.temperature_epochs = warmup_temperature, temperature_epochs
        self.centre_decay, self.ema_decay = centre_decay, ema_decay
        self.freeze_steps, self.teacher_features = freeze_steps, teacher_features
        self.pending = Pending()  # the teacher's scores

    def on_fit_start(self) -> None:
        """Refuse views of a size that the encoder cannot take."""
        multicrop.check_sizes(self.encoder, self.trainer)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return (self.encoder_ema if self.teacher_features else self.encoder)(image)

    def embed(self, image: Tensor) -> Tensor:
        """The student's embeddings, compared with its prototypes: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    @torch.no_grad()
    def teach(self, image: Tensor) -> Tensor:
        """The teacher's scores: (B, C, H, W) -> (B, K)."""
        return self.prototypes_ema(self.projector_ema(self.encoder_ema(image)))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy between the teacher's large views and all others of the student, nats."""
        views = crops(batch)  # V x (B, C, h, w)
        places = large(views)
        h = multicrop.by_size(self.encoder, views)  # V x (B, F), a pass for each size
        z = self.projector(torch.cat(h))  # (V B, D)
        scores = self.prototypes(z).chunk(len(views))  # V x (B, K)
        taught = self.teach(torch.cat([views[i] for i in places]))  # (G B, K)
        targets = losses.centred_target(taught, self.centre, self.temperature_now())
        by_view = dict(zip(places, targets.chunk(len(places)), strict=True))
        loss = losses.swapped_prediction(scores, by_view, self.temperature)
        self.pending.put(batch_idx, losses.score_total(taught)[None])
        z1, z2, *_ = z.chunk(len(views))
        return {"loss": loss} | losses.information(loss, targets) | similarities(z1, z2)

    def temperature_now(self) -> float:
        """The teacher's temperature in this epoch."""
        first, last = self.warmup_temperature, self.teacher_temperature
        return losses.warmed_temperature(first, last, self.temperature_epochs, self.current_epoch)

    def collapsed_loss(self, images: int) -> float:
        """Loss of the uniform distribution for every image; of a single output it is 0."""
        return math.log(len(self.centre))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self(batch["image"])  # (B, F)
        projector = self.projector_ema if self.teacher_features else self.projector
        return {"feature": h, "embedding": projector(h)}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the prototypes frozen at first."""
        if self.global_step < self.freeze_steps:
            modes.leave_out(self.prototypes)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Teacher and centre move once per optimiser step, whatever the gradient accumulation."""
        super().optimizer_step(*args, **kwargs)
        self.after_step(self.global_step, optim.total_steps(self))

    def after_step(self, step: int, total: float) -> None:
        """Move teacher and centre after optimiser step ``step`` (from 0) of ``total``."""
        decay = cosine_to_one(self.ema_decay, step, total)
        ema_step(self.encoder_ema, self.encoder, decay)
        ema_step(self.projector_ema, self.projector, decay)
        ema_step(self.prototypes_ema, self.prototypes, decay)
        (seen,) = self.pending.take()
        self.centre.copy_(losses.moved_centre(self.centre, seen, self.centre_decay))

    def on_step_skipped(self) -> None:
        """Forget the scores of a step that was given up."""
        self.pending.drop()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
