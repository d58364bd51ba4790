"""A few steps of a method under Lightning's Trainer, and what came of them."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.precision import Precision
from torch import Tensor

from genlab import distributed
from genlab.data.loader import batch_seed
from genlab.testing.batches import Batch, Given
from genlab.training.engine.reseed import seed_generators

Watch = Callable[[Batch, int], AbstractContextManager[Any]]


@dataclass
class Outcome:
    """Outcome of a short training: losses (mean over ranks), gradients per step, final tensors."""

    losses: list[Tensor] = field(default_factory=list)
    gradients: list[dict[str, Tensor]] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)
    trained: set[str] = field(default_factory=set)  # parameters that an optimiser holds
    odd: list[str] = field(default_factory=list)  # what a step returned besides finite tensors


class Recorder(L.Callback):
    """Fills an `Outcome`, and holds a context open from each batch's start to its end.

    Args:
        watch: makes the context from (batch, batch index).
        still: set gradients to zero before every step, so that no optimiser moves anything.
    """

    def __init__(self, watch: Watch | None = None, still: bool = False) -> None:
        self.found, self.watch, self.still = Outcome(), watch, still
        self._open = ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        held = {
            id(p) for o in trainer.optimizers for group in o.param_groups for p in group["params"]
        }
        self.found.trained = {n for n, p in pl_module.named_parameters() if id(p) in held}

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        seed_generators(batch_seed(0, trainer.current_epoch, batch_idx))
        if self.watch is not None:
            self._open.enter_context(self.watch(batch, batch_idx))

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._open.close()
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            mean = distributed.all_reduce_sum(loss.detach()) / distributed.world_size()
            self.found.losses.append(mean.clone())
        found = outputs.items() if isinstance(outputs, dict) else ()
        self.found.odd += [
            str(name)
            for name, value in found
            if not isinstance(value, Tensor) or not bool(value.isfinite().all())
        ]

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self.found.gradients.append({
            name: p.grad.detach().clone()
            for name, p in pl_module.named_parameters()
            if p.grad is not None and (id(p) in own or not p.requires_grad)
        })  # fmt: skip
        if self.still:
            for p in pl_module.parameters():
                if p.grad is not None:
                    p.grad.zero_()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._open.close()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.found.state = {k: v.detach().clone() for k, v in pl_module.state_dict().items()}


class Autocast(Precision):
    """Forward passes in half precision on a CPU, without a scaler.

    Args:
        dtype: dtype of the autocast.
    """

    precision = "32-true"

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def forward_context(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", self.dtype)


def train(
    method: L.LightningModule,
    data: L.LightningDataModule,
    batches: list[Batch],
    recorder: Recorder,
    **options: Any,
) -> Outcome:
    """One epoch of given batches on this process, or on all of the process group.

    Args:
        method: is trained.
        data: data module for everything but training batches.
        batches: this process's.
        recorder: watches.
        **options: arguments of the Trainer, over those that make it quiet.
    """
    world = distributed.world_size()
    if world > 1:
        options = {"strategy": "ddp", "devices": world} | options
    with tempfile.TemporaryDirectory() as folder, statistics_over_all_ranks():
        trainer = quiet_trainer(Path(folder), recorder, max_epochs=1, **options)
        trainer.fit(method, datamodule=Given(data, batches))
    return recorder.found


def quiet_trainer(folder: Path, *callbacks: L.Callback, **options: Any) -> L.Trainer:
    """A Trainer on the CPU that prints and writes nothing by itself."""
    settings: dict[str, Any] = {
        "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False,
        "enable_model_summary": False, "num_sanity_val_steps": 0,
        "limit_val_batches": 0, "use_distributed_sampler": False, "log_every_n_steps": 1,
    }  # fmt: skip
    settings["enable_checkpointing"] = any(isinstance(c, Checkpoint) for c in callbacks)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():  # where Slurm is installed, Lightning recommends srun
        warnings.filterwarnings("ignore", "The `srun` command is available")
        return L.Trainer(default_root_dir=folder, callbacks=list(callbacks), **settings | options)


@contextmanager
def statistics_over_all_ranks() -> Iterator[None]:
    """Batch norm as ``trainer.sync_batchnorm`` has it, which torch offers for GPUs only."""
    plain = torch.nn.functional.batch_norm

    def over_all(
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        *rest: Any,
        **more: Any,
    ) -> Tensor:
        tensors = (running_mean, running_var, weight, bias)
        if not training or not distributed.active():
            return plain(x, *tensors, training, *rest, **more)
        every = plain(distributed.gather(x), *tensors, training, *rest, **more)
        own = every.chunk(distributed.world_size())[distributed.rank()]
        return own.clone()  # some activations change it in place

    with mock.patch("torch.nn.functional.batch_norm", over_all):
        yield
