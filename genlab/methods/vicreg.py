"""VICReg: two views' embeddings agree, every component varies, and no two vary together.

Bardes, Ponce, LeCun 2022, arXiv:2105.04906; reference code facebookresearch/vicreg.
Departures: covariances are divided by the number of rows that are there, which the reference takes
from its settings (a smaller last batch); the expander's last map has no bias, which no term sees.
The paper's equations sum the distance over components and do not halve the variance term; this is
its algorithm and code.

On several devices set ``trainer.sync_batchnorm``, as the reference does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

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

TERMS = ("variance", "invariance", "covariance")


class VICReg(L.LightningModule):
    """Variance, invariance and covariance of two views: no negatives and no momentum encoder.

    The loss looks at the whole batch of all processes. Gradient accumulation does not enlarge the
    batch: each part has covariances of its own; ``chunks`` does. At exactly equal embeddings of all
    images the gradient is 0, so a start without spread stays there.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the expander.
        projector_norm: ``batch``, ``layer`` or null, between its layers.
        variance_weight: mu; weighs the spread of every component.
        invariance_weight: lambda; weighs the views' agreement.
        covariance_weight: nu; weighs decorrelation.
        chunks: number of parts in which a process embeds its images; the gradient is that of the
            whole batch, the memory that of one part. Batch norm requires ``bn_splits``.
        bn_splits: number of groups per process in which batch statistics are computed; a multiple
            of ``chunks``.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (1, lower): mu variance + lambda invariance + nu covariance.
        train/loss_variance (1, lower): relu(1 - sqrt(var + 1e-4)), mean over components and views;
            0.99 for constant embeddings.
        train/loss_invariance (1, lower): squared distance of an image's two embeddings, mean over
            components and images.
        train/loss_covariance (1, lower): squared covariances of different components, sum divided
            by D, both views added.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps
    healthy_scale = 1.0  # standard deviation of a component that the loss aims at
    law_exceptions: ClassVar = {"repeat": "covariances are divided by N - 1"}

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 2048, 2048),
        projector_norm: str | None = "batch",
        variance_weight: float = 25.0,
        invariance_weight: float = 25.0,
        covariance_weight: float = 1.0,
        chunks: int = 1,
        bn_splits: int = 1,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.weights = variance_weight, invariance_weight, covariance_weight
        for name, weight in zip(TERMS, self.weights, strict=True):
            if weight < 0:
                raise ValueError(f"{name}_weight {weight} must be at least 0")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(self.encoder.out_dim, *projector_dims, norm=projector_norm)
        self.projector[-1].register_parameter("bias", None)  # no term sees it
        split_batch_norm(bn_splits, self.encoder, self.projector)
        self.chunks = check_chunks(chunks, self.encoder, self.projector)

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings that the loss compares: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Weighted sum of the three terms, which are returned too."""
        asked = self.encoder, self.projector
        z1, z2 = (in_chunks(view, *asked, chunks=self.chunks) for view in pair(batch))  # (B, D)
        terms = losses.variance_invariance_covariance(z1, z2)
        weighted = [weight * term for weight, term in zip(self.weights, terms, strict=True)]
        named = {f"loss_{name}": term for name, term in zip(TERMS, terms, strict=True)}
        return {"loss": torch.stack(weighted).sum()} | named | similarities(z1, z2)

    def collapsed_loss(self, images: int) -> float:
        """Loss of equal embeddings of all images, for a global batch of ``images``."""
        return 0.99 * self.weights[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])
        return {"feature": h, "embedding": self.projector(h)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
