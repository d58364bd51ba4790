"""Log what a method's steps return: training metrics at the price of one addition a step."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import distributed
from genlab.internals import lightning_loops, lightning_state, torch_parts


class StepMetrics(L.Callback):
    """Logs the scalars that a method's steps return; tensors with dimensions are left alone.

    Those of ``training_step`` are summed on their device and fetched in one transfer every
    ``trainer.log_every_n_steps`` steps: their means, also over ranks, as ``train/<key>``, with
    ``train/lr`` and ``train/images_per_second``. ``self.log`` inside a step costs about 0.6 ms a
    call. Those of ``validation_step`` and ``test_step`` become ``val/<key>`` and ``test/<key>``,
    means over the images of an epoch and of all ranks.

    Checkpoints of any Trainer get the name of the method's class, by which `genlab.load` makes it.

    Logs:
        train/lr (1): learning rate of the first parameter group at the last step.
        train/images_per_second (images/s, higher): training images of all devices by wall time
            since the last line, validation left out.
    """

    def __init__(self) -> None:
        lightning_state.divide_by_exact_counts()
        self.latest: dict[str, float] = {}
        self.counts: dict[str, float] = {}  # figures that others keep up to date
        self._every = 50
        self._keys: list[str] = []
        self._sums: list[Tensor] = []
        self._batches = self._images = self._step = 0
        self._since = time.perf_counter()
        self._restored: list[tuple[list[str], int, tuple[Tensor, ...]]] = []  # one a rank

    def state_dict(self) -> dict[str, Any]:
        """The sums since the last line, of every rank: a continued run writes the same line."""
        sums = torch.stack(self._sums) if self._sums else torch.zeros(0)
        mine = {"keys": self._keys, "sums": sums.cpu(), "batches": self._batches}
        return {"ranks": distributed.gather_objects(mine)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = [
            (list(mine["keys"]), int(mine["batches"]), mine["sums"].unbind())
            for mine in state_dict["ranks"]
        ]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._every = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
        self._step = trainer.global_step
        self._forget()
        if len(self._restored) == distributed.world_size():  # else it is of what follows
            self._keys, self._batches, sums = self._restored[distributed.rank()]
            self._sums = [one.to(pl_module.device) for one in sums]
        self._restored = []

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._add(outputs, trainer.accumulate_grad_batches)
        self._images += _batch_size(batch)
        step = trainer.global_step
        if step != self._step:
            self._step = step
            if step % self._every == 0:
                self._write(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if lightning_loops.batches_of_epoch(trainer) < self._every:
            self._write(trainer)  # an epoch shorter than the interval still leaves its line

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        _log_epoch("val", pl_module, outputs, batch)

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        _log_epoch("test", pl_module, outputs, batch)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        kind = type(pl_module)
        checkpoint.setdefault("genlab", {"class_path": f"{kind.__module__}.{kind.__qualname__}"})

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since += time.perf_counter() - self._paused  # validation is not training time

    def _add(self, outputs: Any, accumulation: int) -> None:
        found = _scalars(outputs)
        if not found:
            return
        if accumulation > 1 and "loss" in found:
            found["loss"] = found["loss"] * accumulation  # Lightning hands it back divided
        values = list(found.values())
        if not self._sums:
            self._keys = list(found)
            self._sums = [torch.zeros_like(v, dtype=torch.float32) for v in values]
        torch_parts.foreach_add_(self._sums, values)
        self._batches += 1

    def _write(self, trainer: L.Trainer) -> None:
        if not self._batches:
            return
        means = distributed.all_reduce_sum(torch.stack(self._sums)) / distributed.world_size()
        numbers = (means / self._batches).tolist()
        self.latest = {f"train/{k}": v for k, v in zip(self._keys, numbers, strict=True)}
        if trainer.optimizers:
            self.latest["train/lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        seconds = max(time.perf_counter() - self._since, 1e-9)
        self.latest["train/images_per_second"] = self._images * trainer.world_size / seconds
        self.latest |= {f"train/{k}": v for k, v in self.counts.items()}
        row = self.latest | {"epoch": trainer.current_epoch}
        for logger in trainer.loggers:
            logger.log_metrics(row, trainer.global_step - 1)  # counted from 0, as Lightning does
        self._forget()

    def _forget(self) -> None:
        self._sums, self._batches, self._images = [], 0, 0
        self._since = time.perf_counter()


def log_steps(method: L.LightningModule) -> list[L.Callback]:
    """The callback that logs a method's steps, for a Trainer that has none yet.

    A method's ``configure_callbacks = log_steps`` makes it log under any Trainer of Lightning's.
    """
    callbacks: list[L.Callback] = method.trainer.callbacks  # type: ignore[attr-defined]
    return [] if any(isinstance(c, StepMetrics) for c in callbacks) else [StepMetrics()]


def _log_epoch(split: str, method: L.LightningModule, outputs: Any, batch: Any) -> None:
    named = {f"{split}/{key}": value for key, value in _scalars(outputs).items()}
    if named:
        size = _batch_size(batch) or 1
        method.log_dict(named, batch_size=size, on_step=False, on_epoch=True, sync_dist=True)


def _scalars(outputs: Any) -> dict[str, Tensor]:
    if not isinstance(outputs, dict):
        return {}
    return {k: v.detach() for k, v in outputs.items() if isinstance(v, Tensor) and v.ndim == 0}


def _batch_size(batch: Any) -> int:
    """Images in a batch: of its images, its first part, or of nested batches added up."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 0
    if isinstance(batch, list | tuple):
        return _batch_size(batch[0])
    if not isinstance(batch, dict):
        return 0
    known = next((batch[key] for key in ("index", "image", "views") if key in batch), None)
    parts = [known] if known is not None else [v for v in batch.values() if isinstance(v, dict)]
    return sum(map(_batch_size, parts))
