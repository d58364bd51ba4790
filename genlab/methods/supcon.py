"""SupCon: views of images of one class attract, views of other classes repel.

Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan 2020, arXiv:2004.11362;
reference code HobbitLong/SupContrast.
Departure: the loss is not multiplied by tau / 0.07, so the reference's learning rate of 0.05 at
tau 0.1 is 0.0714 here.

On several devices set ``trainer.sync_batchnorm``, as the reference does.
"""

from __future__ import annotations

import math
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


class SupCon(L.LightningModule):
    """Supervised contrastive learning, the supervised relative of SimCLR.

    All labels are used, and all images must have one. The loss looks at the whole batch of all
    processes; gradient accumulation does not enlarge it, ``chunks`` does. A classifier is then
    trained on the encoder's features, without the projector. Healthy embeddings tend to one
    direction less than there are classes.

    Args:
        channels: C of the images.
        num_classes: number of classes.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector.
        projector_norm: ``batch``, ``layer`` or null, between its layers.
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
        train/loss (nats, lower): -log(exp(z.z' / tau) / sum_k exp(z.z_k / tau)), mean over all z'
            of the image's class, its other view among them; z_k all others of the global batch;
            mean over the 2B embeddings.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps
    requires_labels = True
    law_exceptions: ClassVar = {
        "labels": "labels are what it learns from",
        "repeat": "a repeated image is a positive of its own",
    }

    def __init__(
        self,
        channels: int = 3,
        num_classes: int = 10,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 128),
        projector_norm: str | None = None,
        temperature: float = 0.1,
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
        if num_classes < 2:
            raise ValueError(f"num_classes {num_classes} must be at least 2")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(self.encoder.out_dim, *projector_dims, norm=projector_norm)
        split_batch_norm(bn_splits, self.encoder, self.projector)
        self.chunks = check_chunks(chunks, self.encoder, self.projector)
        self.temperature, self.healthy_rank = temperature, num_classes - 1

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings that the loss compares: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Supervised contrastive loss, mean over the 2B embeddings, nats."""
        views = pair(batch)  # 2 x (B, C, H, W), through the networks together: BN sees both
        z = in_chunks(views, self.encoder, self.projector, chunks=self.chunks)  # (2B, D)
        z1, z2 = z.chunk(2)  # 2 x (B, D)
        loss = losses.supervised_contrastive([z1, z2], batch["label"], self.temperature)
        return {"loss": loss} | similarities(z1, z2)

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
