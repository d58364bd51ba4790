"""MoCo v1 and v2: find the other view's key among a queue of keys of earlier images.

The two mechanisms with which the paper compares the queue are here too (its figure 2): the memory
bank of Wu, Xiong, Yu, Lin 2018, arXiv:1805.01978 (instance discrimination; reference code
zhirongw/lemniscate.pytorch), and the keys of the batch, trained end to end.

He, Fan, Wu, Xie, Girshick 2020, arXiv:1911.05722 (v1: ``projector_dims: [128]``, temperature 0.07);
Chen, Fan, Girshick, He 2020, arXiv:2003.04297 (v2: the defaults). Reference code
facebookresearch/moco and, for ``symmetric`` and ``bn_splits``, its CIFAR notebook.
Departures: the momentum encoder moves after the optimiser's step instead of before the next keys,
which are the same keys; keys of all accumulated batches enter the queue at the optimiser's step;
weight decay spares norms and biases (`optim.build`), the reference's falls on all. The memory bank
has the full softmax in place of noise-contrastive estimation, whose constant it thereby needs not;
it moves at the optimiser's step instead of in the backward pass; its rows start as unit vectors.

Not a departure: on several devices evaluation uses rank zero's batch-norm statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor

from genlab import distributed, losses, networks, optim
from genlab.augment.pairs import crops, pair
from genlab.contracts import Batch, data_of, training_images
from genlab.errors import check_names
from genlab.losses.contrastive import normalise
from genlab.metrics import log_steps
from genlab.metrics.embedding import similarities
from genlab.networks.bank import Bank
from genlab.networks.ema import ema_copy, ema_step
from genlab.networks.pending import Pending
from genlab.networks.queue import Queue, keep_out_of_ddp
from genlab.networks.split_batch_norm import (
    SplitBatchNorm,
    check_groups,
    has_batch_norm,
    split_batch_norm,
)


class MoCo(L.LightningModule):
    """Contrastive learning with a momentum encoder and a queue of its keys.

    With the bank there is one view and no other encoder; with the batch there are two views of the
    same encoder. Arguments of the queue and of the momentum encoder are then unused.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        encoder: name of f; see `networks.encoder`.
        projector_dims: hidden widths and output width D of the projector.
        temperature: tau; divides the cosine similarities.
        negatives: ``queue``: keys of earlier images; ``bank``: an embedding of every training image
            as it was when last seen, its own among them as the positive, with one view (preset
            ``wu``); ``batch``: the other images' keys in the global batch, which have a gradient.
        queue_size: K, number of keys in the queue.
        ema_decay: m of the momentum encoder.
        bank_momentum: share of an image's row in the bank that a step keeps.
        symmetric: each view is once query and once key, and the two losses are added.
        shuffle_bn: keys are encoded in another division of the batch than queries, so that the
            statistics of batch norm do not tell which belong together.
        bn_splits: number of groups per process in which batch statistics are computed, to emulate
            that many devices: 2 groups on one process train as 2 processes do. Without groups or
            devices shuffling has no effect.
        optimizer: settings of the optimiser; see `optim.build`.
        encoder_kwargs: arguments of the encoder (``stem``, ``width`` ...).
        pretrained: weights of the encoder to start from; see `checkpoints.load_backbone`.
        pretrained_options: options for loading them.

    Logs:
        train/loss (nats, lower): InfoNCE: -log(exp(q.k / tau) / (exp(q.k / tau) + sum_n exp(q.n /
            tau))), n the keys of the queue, the bank or the batch; mean over queries; with
            ``symmetric`` the sum of both directions.

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
        temperature: float = 0.2,
        negatives: Literal["queue", "bank", "batch"] = "queue",
        queue_size: int = 65536,
        ema_decay: float = 0.999,
        bank_momentum: float = 0.5,
        symmetric: bool = False,
        shuffle_bn: bool = True,
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
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {ema_decay}")
        if not 0 <= bank_momentum < 1:
            raise ValueError(f"bank_momentum must be in [0, 1), got {bank_momentum}")
        check_names("negatives", [negatives], ["queue", "bank", "batch"], "mechanism")
        if negatives == "bank" and symmetric:
            raise ValueError("symmetric cannot be combined with negatives bank, which has one view")
        self.encoder = networks.encoder(
            encoder, channels, image_size, pretrained, pretrained_options, **(encoder_kwargs or {})
        )
        self.projector = networks.mlp(self.encoder.out_dim, *projector_dims)
        split_batch_norm(bn_splits, self.encoder)
        if negatives == "queue":
            self.encoder_ema, self.projector_ema = ema_copy(self.encoder), ema_copy(self.projector)
            self.queue = Queue(queue_size, projector_dims[-1])
        elif negatives == "bank":
            self.bank = Bank(projector_dims[-1])
            self.law_exceptions = {"places": "an image's row is found by its place"}
        else:
            self.law_exceptions = {"repeat": "in-batch negatives: a repeated image is its own"}
        self.negatives, self.bank_momentum = negatives, bank_momentum
        self.loss_of_batch = negatives == "batch"  # accumulation does not enlarge it
        self.temperature, self.ema_decay, self.symmetric = temperature, ema_decay, symmetric
        self.watches_denominator = False  # `DenominatorDrift` sets it
        self.shuffle_bn = shuffle_bn and has_batch_norm(self.encoder)
        self.bn_splits = bn_splits
        self.pending = Pending()  # keys, and their images' rows of the bank
        keep_out_of_ddp(self)

    def on_fit_start(self) -> None:
        """Refuse a batch that queue or groups do not fit; start from one queue on all ranks."""
        data = data_of(self.trainer)
        if step := getattr(data, "batch_size", 0):
            if self.negatives == "queue":
                self.queue.check(step * (2 if self.symmetric else 1))
            parts = self.trainer.world_size * self.trainer.accumulate_grad_batches
            check_groups(step // parts, self.bn_splits)
        split = any(isinstance(m, SplitBatchNorm) for m in self.encoder.modules())
        if self.bn_splits > 1 and not split:
            raise ValueError("bn_splits cannot be combined with trainer.sync_batchnorm")
        if self.negatives == "queue":
            self.queue.keys.copy_(distributed.broadcast(self.queue.keys))
        elif self.negatives == "bank":
            self.bank.fit_to(training_images(data))

    def forward(self, image: Tensor) -> Tensor:
        """Features for downstream use: (B, C, H, W) -> (B, F), before the projector."""
        return self.encoder(image)

    def embed(self, image: Tensor) -> Tensor:
        """Through the trained projector: (B, C, H, W) -> (B, D)."""
        return self.projector(self.encoder(image))

    @torch.no_grad()
    def key(self, image: Tensor) -> Tensor:
        """Keys of the momentum encoder, of length one: (B, C, H, W) -> (B, D)."""
        if not self.shuffle_bn or self.bn_splits * distributed.world_size() == 1:
            return normalise(self.projector_ema(self.encoder_ema(image)))
        every = distributed.interleave(distributed.gather(image))  # (B world, C, H, W)
        order = distributed.broadcast(torch.randperm(len(every), device=image.device))  # (B world,)
        mine = slice(distributed.rank(), None, distributed.world_size())
        k = self.projector_ema(self.encoder_ema(every[order[mine]]))  # (B, D)
        return normalise(distributed.interleave(distributed.gather(k))[order.argsort()[mine]])

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """InfoNCE, mean over queries, nats; in the symmetric form the sum of both directions."""
        if self.negatives == "bank":
            return self._against_bank(batch, batch_idx)
        view1, view2 = pair(batch)  # 2 x (B, C, H, W)
        if self.negatives == "batch":
            return self._against_batch(view1, view2)
        q1, k2 = self.embed(view1), self.key(view2)  # 2 x (B, D)
        loss = losses.info_nce(q1, k2, self.queue.keys, self.temperature)
        keys = k2
        if self.symmetric:
            q2, k1 = self.embed(view2), self.key(view1)  # 2 x (B, D)
            loss = loss + losses.info_nce(q2, k1, self.queue.keys, self.temperature)
            keys = torch.cat(
                [k1, k2]
            )  # (2B, D), enter together: neither half meets its own images' keys
        self.pending.put(batch_idx, keys)
        watched: dict[str, Tensor] = {}
        if self.watches_denominator:
            watched = losses.denominator(q1, k2, self.queue.keys, self.temperature)
        return {"loss": loss} | similarities(q1, k2) | watched

    def _against_bank(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        view, *more = crops(batch, least=1)  # (B, C, H, W)
        if more:
            raise ValueError(
                f"negatives bank compares 1 view of an image, data.views gives {1 + len(more)}: "
                "set data.views, such as wu"
            )
        z, rows = self.embed(view), self.bank.rows_at(batch["index"])  # (B, D), (B,)
        loss = losses.instance_nll(z, self.bank.rows, rows, self.temperature)
        self.pending.put(batch_idx, normalise(z.detach()), rows)
        own, watched = self.bank.rows[rows], dict[str, Tensor]()
        if self.watches_denominator:
            skip = rows[:, None]
            watched = losses.denominator(z, own, self.bank.rows, self.temperature, skip)
        return {"loss": loss} | similarities(z, own) | watched

    def _against_batch(self, view1: Tensor, view2: Tensor) -> dict[str, Tensor]:
        q, k = self.embed(view1), self.embed(view2)  # 2 x (B, D), both with gradient
        loss = losses.batch_nce(q, k, self.temperature)
        if self.symmetric:
            loss = loss + losses.batch_nce(k, q, self.temperature)
        watched: dict[str, Tensor] = {}
        if self.watches_denominator:
            watched = losses.denominator_of_keys(q, k, self.temperature)
        return {"loss": loss} | similarities(q, k) | watched

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Output for callbacks: ``feature`` (B, F) and ``embedding`` (B, D) of unaltered images."""
        h = self.encoder(batch["image"])  # (B, F)
        return {"feature": h, "embedding": self.projector(h)}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Once per optimiser step, whatever the gradient accumulation, momentum and queue move."""
        super().optimizer_step(*args, **kwargs)
        self.after_step()

    def after_step(self) -> None:
        """Move the momentum encoder, then let the new keys into the queue, or into the bank."""
        if self.negatives == "queue":
            ema_step(self.encoder_ema, self.encoder, self.ema_decay)
            ema_step(self.projector_ema, self.projector, self.ema_decay)
            self.queue.enqueue(*self.pending.take())
        elif self.negatives == "bank":
            keys, rows = self.pending.take()
            self.bank.move(rows, keys, self.bank_momentum)

    def on_step_skipped(self) -> None:
        """Forget the keys of a step that was given up."""
        self.pending.drop()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """See `optim.build`."""
        return optim.build(self, self.hparams["optimizer"])
