"""Barlow Twins: components of two views' embeddings agree, and say different things.

Zbontar, Jing, Misra, LeCun, Deny 2021, arXiv:2103.03230; reference code
facebookresearch/barlowtwins.
Departure: the gradient is that of the batch of all processes. The reference's is that divided by
their number, which LARS hides for weights; its rate of biases and norms (0.0048 against 0.2)
belongs to it.

On several devices set ``trainer.sync_batchnorm``, as the reference does.
"""

from __future__ import annotations

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


class BarlowTwins(L.LightningModule):
    """Redundancy reduction between two views: no negatives, no momentum encoder, no predictor.

    The loss looks at the whole batch of all processes. Gradient accumulation does not enlarge the
    batch: each part has correlations of its own; ``chunks`` does.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector.
        projector_norm: ``batch``, ``layer`` or null, between its layers.
        off_diagonal_weight: lambda; weighs decorrelation against agreement.
        loss_scale: factor of the whole loss, as the first version of the reference code and
            solo-learn (0.1) have it.
        chunks: number of parts in which a process embeds its images; the gradient is that of the
            whole batch, the memory that of one part. Batch norm requires ``bn_splits``.
        bn_splits: number of groups per process in which batch statistics are computed; a multiple
            of ``chunks``.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (squared correlation, lower): sum_i (1 - c_ii)^2 + lambda sum_{i != j} c_ij^2 of
            the (D, D) cross-correlations c over the global batch, times loss_scale.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        projector_norm: str | None = "batch",
        off_diagonal_weight: float = 0.0051,
        loss_scale: float = 1.0,
        chunks: int = 1,
        bn_splits: int = 1,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if off_diagonal_weight < 0:
            raise ValueError(f"off_diagonal_weight {off_diagonal_weight} must be at least 0")
        if loss_scale <= 0:
            raise ValueError(f"loss_scale {loss_scale} must be above 0")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(self.encoder.out_dim, *projector_dims, norm=projector_norm)
        self.projector[-1].register_parameter("bias", None)  # the loss would take it away
        split_batch_norm(bn_splits, self.encoder, self.projector)
        self.chunks = check_chunks(chunks, self.encoder, self.projector)
        self.off_diagonal_weight, self.loss_scale = off_diagonal_weight, loss_scale

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings that the loss compares: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Sum over the (D, D) cross-correlations of the views' embeddings."""
        view1, view2 = pair(batch)  # 2 x (B, C, H, W)
        asked = self.encoder, self.projector
        z1, z2 = (in_chunks(v, *asked, chunks=self.chunks) for v in (view1, view2))  # (B, D)
        loss = losses.redundancy_reduction(z1, z2, self.off_diagonal_weight) * self.loss_scale
        return {"loss": loss} | similarities(z1, z2)

    def collapsed_loss(self, images: int) -> float:
        """Loss of equal embeddings of all images, for a global batch of ``images``."""
        return self.loss_scale * float(self.hparams["projector_dims"][-1])

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])
        return {"feature": h, "embedding": self.projector(h)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
