"""SwAV: the cluster of one view of an image is predicted from its other views.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin 2020, arXiv:2006.09882; reference code
facebookresearch/swav.
Departures: prototypes are made unit vectors after the optimiser's step instead of before the next
forward pass, which are the same prototypes; the queue is one of all processes, not one of each; its
embeddings of accumulated batches enter at the optimiser's step; codes are computed in float32.

On several devices set ``trainer.sync_batchnorm``, as the reference does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed, losses, networks, optim
from genlab.augment.pairs import crops, large
from genlab.contracts import Batch, data_of
from genlab.losses.contrastive import normalise
from genlab.metrics import log_steps
from genlab.metrics.embedding import similarities
from genlab.networks import modes, multicrop
from genlab.networks.chunks import check_chunks, in_chunks
from genlab.networks.pending import Pending
from genlab.networks.queue import Queue, keep_out_of_ddp
from genlab.networks.split_batch_norm import split_batch_norm

LARGE = 2  # views that have a queue


class SwAV(L.LightningModule):
    """Online clustering: balanced assignments of large views to prototypes are the targets.

    The assignments are those of the batch of all processes. Gradient accumulation does not enlarge
    it: each part is assigned for itself; ``chunks`` does.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector.
        projector_norm: ``batch``, ``layer`` or null, between its layers.
        prototypes: K, number of clusters.
        temperature: tau of the predictions.
        sinkhorn_temperature: epsilon of the assignments; higher ones are closer to uniform.
        sinkhorn_iterations: normalisations of the assignments.
        queue_size: earlier embeddings of each of two large views that are assigned together with
            the batch, which then need not have many images for each prototype; 0 for none.
        queue_from_epoch: epoch, from 0, from which the queue is filled; it serves once it is full.
        freeze_steps: optimiser steps at the start in which the prototypes stay as drawn.
        chunks: number of parts in which a process embeds its images; the gradient is that of the
            whole batch, the memory that of one part. Batch norm requires ``bn_splits``.
        bn_splits: number of groups per process in which batch statistics are computed; a multiple
            of ``chunks``.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): cross entropy of a large view's assignment with the prediction of
            another view; mean over the batch, the large views and all others of each. log K where
            all images look alike.
        train/prototypes_used (prototypes, higher): prototypes that are nearest to some view of
            this process's batch; 1 after a collapse.

    Raises:
        ValueError: an argument is out of its range, or an unknown encoder.
    """

    configure_callbacks = log_steps
    queued: Tensor

    def __init__(
        self,
        channels: int = 3,
        image_size: int = 32,
        encoder: str = "resnet18",
        projector_dims: Sequence[int] = (2048, 128),
        projector_norm: str | None = "batch",
        prototypes: int = 3000,
        temperature: float = 0.1,
        sinkhorn_temperature: float = 0.05,
        sinkhorn_iterations: int = 3,
        queue_size: int = 0,
        queue_from_epoch: int = 0,
        freeze_steps: int = 0,
        chunks: int = 1,
        bn_splits: int = 1,
        optimizer: dict[str, Any] | None = None,
        encoder_kwargs: dict[str, Any] | None = None,
        pretrained: bool | str = False,
        pretrained_options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        for name, least in {"prototypes": 2, "sinkhorn_iterations": 1, "freeze_steps": 0}.items():
            if self.hparams[name] < least:
                raise ValueError(f"{name} {self.hparams[name]} must be at least {least}")
        for name in ("temperature", "sinkhorn_temperature"):
            if not self.hparams[name] > 0:
                raise ValueError(f"{name} {self.hparams[name]} must be above 0")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(self.encoder.out_dim, *projector_dims, norm=projector_norm)
        split_batch_norm(bn_splits, self.encoder, self.projector)
        self.chunks = check_chunks(chunks, self.encoder, self.projector)
        self.prototypes = nn.Linear(projector_dims[-1], prototypes, bias=False)
        self.queues = nn.ModuleList(
            Queue(queue_size, projector_dims[-1]) for _ in range(LARGE if queue_size else 0)
        )
        self.register_buffer("queued", torch.zeros((), dtype=torch.long))
        self.temperature, self.sinkhorn_temperature = temperature, sinkhorn_temperature
        self.sinkhorn_iterations, self.freeze_steps = sinkhorn_iterations, freeze_steps
        self.queue_from_epoch = queue_from_epoch
        self.pending = Pending()  # embeddings for each queue
        self._normalise_prototypes()
        keep_out_of_ddp(self)

    def on_fit_start(self) -> None:
        """Refuse views or a batch that encoder or queue do not fit; start from one queue."""
        multicrop.check_sizes(self.encoder, self.trainer)
        queue: Any
        for queue in self.queues:
            queue.check(getattr(data_of(self.trainer), "batch_size", 0))
            queue.keys.copy_(distributed.broadcast(queue.keys))

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings that are compared with the prototypes: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    @torch.no_grad()
    def codes(self, scores: Tensor, queue: Queue | None = None) -> Tensor:
        """Assignments of a view's images, together with earlier ones: (B, K) -> (B, K)."""
        counted, count = None, len(scores)
        if queue is not None:
            mine = queue.keys[distributed.rank() :: distributed.world_size()]  # (Q / world, D)
            earlier = losses.prototype_scores(mine, self.prototypes.weight)  # of today
            full = self.queued >= len(queue.keys)  # a queue that is not full is none
            counted = torch.cat([full.expand(len(mine)), full.new_ones(len(scores))])
            scores = torch.cat([earlier, scores])
        options = self.sinkhorn_temperature, self.sinkhorn_iterations
        return losses.sinkhorn(scores, *options, counted)[-count:]

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Cross entropy of the large views' codes with all other views' predictions, nats."""
        views = crops(batch)  # V x (B, C, h, w)
        places = large(views)
        queues = self._queues(places)
        h = multicrop.by_size(self._encoded, views)  # V x (B, F), a pass for each size
        z = in_chunks(h, self.projector, chunks=self.chunks).chunk(len(views))  # V x (B, D)
        scores = [losses.prototype_scores(one, self.prototypes.weight) for one in z]  # V x (B, K)
        codes = {i: self.codes(scores[i].detach(), queues.get(i)) for i in places}
        loss = losses.swapped_prediction(scores, codes, self.temperature)
        if queues:
            self.pending.put(batch_idx, *(normalise(z[i].detach()) for i in places))
        best = torch.cat(scores).detach().argmax(1)  # (V B,)
        used = best.new_zeros(scores[0].shape[1]).index_fill_(0, best, 1).sum()
        return {"loss": loss, "prototypes_used": used} | similarities(z[0], z[1])

    def _encoded(self, image: Tensor) -> Tensor:
        return in_chunks(image, self.encoder, chunks=self.chunks)

    def _queues(self, places: list[int]) -> dict[int, Any]:
        """The queue of each large view, by the view's place; none before their epoch."""
        if not self.queues or self.current_epoch < self.queue_from_epoch:
            return {}
        if len(places) != LARGE:
            raise ValueError(
                f"queue_size requires {LARGE} large views, data.views gives {len(places)}"
            )
        return dict(zip(places, self.queues, strict=True))

    def collapsed_loss(self, images: int) -> float:
        """Loss of equal embeddings, once their codes and predictions are uniform: log K."""
        return math.log(len(self.prototypes.weight))

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])  # (B, F)
        return {"feature": h, "embedding": self.projector(h)}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the prototypes frozen at first."""
        if self.global_step < self.freeze_steps:
            modes.leave_out(self.prototypes)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Once per optimiser step, whatever the gradient accumulation, the queue moves."""
        super().optimizer_step(*args, **kwargs)
        self.after_step()

    def after_step(self) -> None:
        """Make the prototypes unit vectors again, and let the new embeddings into the queue."""
        if self.prototypes.weight.grad is not None:
            self._normalise_prototypes()
        new = self.pending.take()  # none before the queues' epoch
        queue: Any
        for queue, rows in zip(self.queues, new, strict=False):
            queue.enqueue(rows)
        self.queued += sum(map(len, new[:1])) * distributed.world_size()

    def on_step_skipped(self) -> None:
        """Forget the embeddings of a step that was given up."""
        self.pending.drop()

    @torch.no_grad()
    def _normalise_prototypes(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
