"""Drift of MoCo's momentum encoder while a key stays in the queue."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import distributed
from genlab.contracts import DataModule, data_of
from genlab.networks.modes import evaluating
from genlab.networks.queue import Queue


class KeyDrift(L.Callback):
    """``val/key_drift``: 1 - cosine between the oldest keys and the same images' keys of now.

    The same validation images are encoded by the momentum encoder, in eval mode, after a
    validation and again when a key of that moment leaves the queue, queue_size / (keys a step)
    optimiser steps later; the next validation logs the mean. At 0 all keys of the queue are as if
    from one encoder, the purpose of a slow momentum encoder (He et al. 2020, arXiv:1911.05722,
    section 3.2); towards 1 the negatives are meaningless. For methods with a ``queue`` of a
    momentum encoder's keys; ignored for others.

    Args:
        count: number of images.

    Logs:
        val/key_drift (1 - cosine, lower): 1 - cos(key, key of the same image when it entered the
            queue), mean over images; 0 for one encoder.

    Raises:
        ValueError: no image.
    """

    def __init__(self, count: int = 256) -> None:
        if count < 1:
            raise ValueError(f"KeyDrift.count must be at least 1, got {count}")
        self.count = count
        self.drift: float | None = None
        self._then: Tensor | None = None  # keys of all ranks' images, (count, D)
        self._due = -1  # the optimiser step after which they are compared
        self._images: Tensor | None = None  # this rank's

    def state_dict(self) -> dict[str, Any]:
        """The measurement in progress, so that a resumed run completes it."""
        world = distributed.world_size()
        return {"drift": self.drift, "then": self._then, "due": self._due, "world": world}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.drift, self._due = state_dict["drift"], state_dict["due"]
        if state_dict["world"] == distributed.world_size():  # else the rows have another order
            self._then = state_dict["then"]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data, queue = data_of(trainer), getattr(pl_module, "queue", None)
        momentum = isinstance(queue, Queue) and hasattr(pl_module, "encoder_ema")
        if not momentum or not isinstance(data, DataModule):
            return
        if not data.val_dataloader():
            return
        loader = data.bank_dataloader("val", shard=True, most=self.count)
        batches = (data.to_device(raw, pl_module.device) for raw in loader)
        self._images = torch.cat([batch["image"] for batch in batches])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        if self._then is not None and trainer.global_step == self._due:
            now = self._keys(trainer, pl_module)
            self.drift = float(1 - (now * self._then.to(now)).sum(1).mean())
            self._then = None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.drift is not None and trainer.state.fn == "fit":
            pl_module.log("val/key_drift", self.drift, sync_dist=True)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._images is None or self._then is not None or trainer.state.fn != "fit":
            return
        method: Any = pl_module
        data: Any = data_of(trainer)
        keys = data.batch_size * (2 if method.symmetric else 1)
        self._due = trainer.global_step + -(-len(method.queue.keys) // keys)
        self._then = self._keys(trainer, pl_module)

    @torch.no_grad()
    def _keys(self, trainer: L.Trainer, method: Any) -> Tensor:
        networks = method.encoder_ema, method.projector_ema
        with evaluating(*networks), trainer.precision_plugin.forward_context():
            k = networks[1](networks[0](self._images))
        return distributed.gather_rows(F.normalize(k.float(), dim=1))
