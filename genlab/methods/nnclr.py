"""NNCLR: the positive of a view is the nearest neighbour of the other view among earlier images.

Dwibedi, Aytar, Tompson, Sermanet, Zisserman 2021, arXiv:2104.14548; no reference code is public,
solo-learn's settings and values are followed.
Departures: the batch norm after the projector's last map is without scale, as in SimSiam and
MoCo v3; embeddings of accumulated batches enter the queue at the optimiser's step.

On several devices set ``trainer.sync_batchnorm``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor

from genlab import distributed, losses, networks, optim, process
from genlab.augment.pairs import pair
from genlab.contracts import Batch, data_of, training_images
from genlab.losses.contrastive import normalise
from genlab.metrics import log_steps
from genlab.metrics.embedding import similarities
from genlab.networks.chunks import check_chunks, in_chunks
from genlab.networks.pending import Pending
from genlab.networks.queue import Queue, keep_out_of_ddp
from genlab.networks.split_batch_norm import split_batch_norm


class NNCLR(L.LightningModule):
    """Contrastive learning between the neighbours of one view and predictions from the other.

    The loss uses the whole batch of all processes. Gradient accumulation does not enlarge it;
    ``chunks`` does.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector.
        predictor_dims: hidden widths and output width D of the predictor.
        head_norm: ``batch`` (also after the projector's last map), ``layer`` or null, between the
            layers of both.
        temperature: tau; divides the cosine similarities.
        queue_size: M, number of earlier embeddings among which neighbours are found; with more than
            there are training images, neighbours are often views of the image itself.
        chunks: number of parts in which a process embeds its images; the gradient is that of the
            whole batch, the memory that of one part. Batch norm requires ``bn_splits``.
        bn_splits: number of groups per process in which batch statistics are computed; a multiple
            of ``chunks``.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): -log(exp(n.p / tau) / sum_k exp(n.p_k / tau)), n the neighbour of
            one view, p the other's prediction, p_k those of the global batch; mean over images and
            both directions.
        train/neighbour_similarity (cosine): mean cosine between an embedding and its neighbour;
            near 1 where neighbours are the image itself, and after a collapse.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps
    law_exceptions: ClassVar = {
        "repeat": "in-batch negatives: a repeated image is its own negative",
    }

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 2048, 256),
        predictor_dims: Sequence[int] = (4096, 256),
        head_norm: str | None = "batch",
        temperature: float = 0.1,
        queue_size: int = 98304,
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
        if projector_dims[-1] != predictor_dims[-1]:
            raise ValueError("projector_dims and predictor_dims must end in the same width")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(
            self.encoder.out_dim, *projector_dims, norm=head_norm, last_norm=head_norm == "batch"
        )
        self.predictor = networks.mlp(projector_dims[-1], *predictor_dims, norm=head_norm)
        split_batch_norm(bn_splits, self.encoder, self.projector, self.predictor)
        self.chunks = check_chunks(chunks, self.encoder, self.projector, self.predictor)
        self.queue = Queue(queue_size, projector_dims[-1])
        self.temperature = temperature
        self.pending = Pending()  # keys
        keep_out_of_ddp(self)

    def on_fit_start(self) -> None:
        """Refuse a batch that the queue does not fit; start from one queue on all ranks."""
        data = data_of(self.trainer)
        self.queue.check(getattr(data, "batch_size", 0))
        size, images = len(self.queue.keys), training_images(data)
        if images is not None and size > len(images):
            process.note(
                f"queue_size {size:,} exceeds the {len(images):,} training images: neighbours are "
                "often views of the image itself"
            )
        self.queue.keys.copy_(distributed.broadcast(self.queue.keys))

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings whose neighbours are found: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of neighbours with predictions, mean over images and directions, nats."""
        views = pair(batch)  # 2 x (B, C, H, W)
        asked = self.encoder, self.projector
        z1, z2 = (in_chunks(view, *asked, chunks=self.chunks) for view in views)  # 2 x (B, D)
        p1, p2 = (in_chunks(z, self.predictor, chunks=self.chunks) for z in (z1, z2))  # 2 x (B, D)
        n1, n2 = self.queue.nearest(z1), self.queue.nearest(z2)  # 2 x (B, D), no gradient
        loss = losses.batch_nce(n1, p2, self.temperature)
        loss = (loss + losses.batch_nce(n2, p1, self.temperature)) / 2
        key = normalise(z1.detach())  # (B, D), enters after the look-up: none finds itself
        self.pending.put(batch_idx, key)
        close = {"neighbour_similarity": (key * n1).sum(1).mean()}
        return {"loss": loss} | close | similarities(z1, z2)

    def collapsed_loss(self, images: int) -> float:
        """Loss of equal embeddings of all images, for a global batch of ``images``."""
        return math.log(images)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])  # (B, F)
        return {"feature": h, "embedding": self.projector(h)}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Once per optimiser step, whatever the gradient accumulation, the queue moves."""
        super().optimizer_step(*args, **kwargs)
        self.after_step()

    def after_step(self) -> None:
        """Let the new embeddings into the queue."""
        self.queue.enqueue(*self.pending.take())

    def on_step_skipped(self) -> None:
        """Forget the embeddings of a step that was given up."""
        self.pending.drop()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
