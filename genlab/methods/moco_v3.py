"""MoCo v3: a prediction finds the other view's key among the keys of the global batch.

Chen, Xie, He 2021, arXiv:2104.02057; reference code facebookresearch/moco-v3.
Departures: the momentum encoder moves after the optimiser's step instead of before the next keys,
which are the same keys; a ViT has timm's initialisation and learnt position embeddings; weight
decay spares norms and biases (`optim.build`), the reference's falls on all.

On several devices set ``trainer.sync_batchnorm``, as the reference does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import losses, networks, optim
from genlab.augment.pairs import pair
from genlab.contracts import Batch
from genlab.metrics import log_steps
from genlab.metrics.embedding import similarities
from genlab.networks.chunks import check_chunks, in_chunks
from genlab.networks.ema import cosine_to_one, ema_copy, ema_step
from genlab.networks.split_batch_norm import split_batch_norm


class MoCoV3(L.LightningModule):
    """Contrastive learning with a predictor, a momentum encoder and no queue.

    The paper's ViT has ``projector_dims: [4096, 4096, 256]`` and ``predictor_last_norm: true``.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector.
        predictor_dims: hidden widths and output width D of the predictor.
        head_norm: ``batch``, ``layer`` or null, between the layers of both; ``batch`` also after
            the projector's last map.
        predictor_last_norm: True for batch norm also after the predictor's last map.
        temperature: tau; divides the cosine similarities, and the loss is multiplied by 2 tau.
        ema_decay: m of the momentum encoder at the start; it rises to 1 along a cosine.
        freeze_patch_embed: a ViT's patch embedding keeps its random start, without which the
            authors saw instability.
        chunks: number of parts in which a process embeds its images; the gradient is that of the
            whole batch, the memory that of one part. Batch norm requires ``bn_splits``.
        bn_splits: number of groups per process in which batch statistics are computed; a multiple
            of ``chunks``.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): 2 tau times InfoNCE, -log(exp(q.k / tau) / sum_n exp(q.n / tau)),
            n the keys of the global batch; mean over queries, sum of both directions.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (4096, 256),
        predictor_dims: Sequence[int] = (4096, 256),
        head_norm: str | None = "batch",
        predictor_last_norm: bool = False,
        temperature: float = 1.0,
        ema_decay: float = 0.99,
        freeze_patch_embed: bool = True,
        chunks: int = 1,
        bn_splits: int = 1,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not temperature > 0:
            raise ValueError(f"temperature {temperature} must be above 0")
        if not 0 <= ema_decay <= 1:
            raise ValueError(f"ema_decay must be in [0, 1], got {ema_decay}")
        if projector_dims[-1] != predictor_dims[-1]:
            raise ValueError("projector_dims and predictor_dims must end in the same width")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        if freeze_patch_embed and hasattr(self.encoder.backbone, "patch_embed"):
            self.encoder.backbone.patch_embed.requires_grad_(False)
        self.projector = networks.mlp(
            self.encoder.out_dim,
            *projector_dims,
            norm=head_norm,
            last_norm=head_norm == "batch",
        )
        self.predictor = networks.mlp(
            projector_dims[-1], *predictor_dims, norm=head_norm, last_norm=predictor_last_norm
        )
        split_batch_norm(bn_splits, self.encoder, self.projector, self.predictor)
        self.chunks = check_chunks(chunks, self.encoder, self.projector, self.predictor)
        self.encoder_ema, self.projector_ema = ema_copy(self.encoder), ema_copy(self.projector)
        self.temperature, self.ema_decay = temperature, ema_decay

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Through the trained projector: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    @torch.no_grad()
    def key(self, image: Tensor) -> Tensor:
        """Through the momentum encoder: (B, C, H, W) -> (B, D)."""
        return in_chunks(image, self.encoder_ema, self.projector_ema, chunks=self.chunks)

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """2 tau InfoNCE over the global batch, the sum of both directions."""
        view1, view2 = pair(batch)  # 2 x (B, C, H, W)
        asked = self.encoder, self.projector, self.predictor
        q1, q2 = (in_chunks(v, *asked, chunks=self.chunks) for v in (view1, view2))  # 2 x (B, D)
        k1, k2 = self.key(view1), self.key(view2)  # 2 x (B, D), no gradient
        loss = losses.info_nce_in_batch(q1, k2, self.temperature)
        loss = loss + losses.info_nce_in_batch(q2, k1, self.temperature)
        return {"loss": loss} | similarities(q1, k2)

    def collapsed_loss(self, images: int) -> float:
        """Loss of equal embeddings of all images, for a global batch of ``images``."""
        return 4 * self.temperature * math.log(images)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])  # (B, F)
        return {"feature": h, "embedding": self.projector(h)}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The momentum encoder moves once per optimiser step."""
        super().optimizer_step(*args, **kwargs)
        self.after_step(self.global_step, optim.total_steps(self))

    def after_step(self, step: int, total: float) -> None:
        """Move the momentum encoder after optimiser step ``step`` (from 0) of ``total``."""
        decay = cosine_to_one(self.ema_decay, step + 1, total)  # that of the next step's keys
        ema_step(self.encoder_ema, self.encoder, decay)
        ema_step(self.projector_ema, self.projector, decay)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
