"""SimCLR: two views of an image attract, all other views in the global batch repel.

Chen, Kornblith, Norouzi, Hinton 2020, arXiv:2002.05709; reference code google-research/simclr.
Departures: views are drawn in batches on the device (same distributions); the batch norm after the
projector's last map, which the reference code has, is without scale, as in SimSiam and MoCo v3.

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
from genlab.networks.split_batch_norm import split_batch_norm


class SimCLR(L.LightningModule):
    """Contrastive learning with in-batch negatives.

    The loss uses the whole batch of all processes. Gradient accumulation does not enlarge the set
    of negatives: each image then meets those of its own part only; ``chunks`` does.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector g.
        projector_norm: ``batch`` (also after the last map), ``layer`` or null, between its layers.
        temperature: tau; divides the cosine similarities.
        chunks: number of parts in which a process embeds its images; the gradient is that of the
            whole batch, the memory that of one part. Batch norm requires ``bn_splits``.
        bn_splits: number of groups per process in which batch statistics are computed; a multiple
            of ``chunks``.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): NT-Xent: -log(exp(z.z' / tau) / sum_k exp(z.z_k / tau)), z' the
            image's other view, z_k all others of the global batch; mean over the 2B embeddings.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 128),
        projector_norm: str | None = "batch",
        temperature: float = 0.5,
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
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(
            self.encoder.out_dim,
            *projector_dims,
            norm=projector_norm,
            last_norm=projector_norm == "batch",
        )
        split_batch_norm(bn_splits, self.encoder, self.projector)
        self.chunks = check_chunks(chunks, self.encoder, self.projector)
        self.temperature = temperature
        self.watches_denominator = False  # `DenominatorDrift` sets it

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings that the loss compares: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """NT-Xent, mean over the 2B embeddings, nats."""
        view1, view2 = pair(batch)  # 2 x (B, C, H, W), through the networks together: BN sees both
        asked = self.encoder, self.projector
        z = in_chunks([view1, view2], *asked, chunks=self.chunks)  # (2B, D)
        z1, z2 = z.chunk(2)  # 2 x (B, D)
        found = {"loss": losses.nt_xent(z1, z2, self.temperature)} | similarities(z1, z2)
        if self.watches_denominator:
            found |= losses.denominator_of_views(z1, z2, self.temperature)
        return found

    def collapsed_loss(self, images: int) -> float:
        """Loss of equal embeddings of all images, for a global batch of ``images``."""
        return math.log(2 * images - 1)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])  # (B, F)
        return {"feature": h, "embedding": self.projector(h)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
