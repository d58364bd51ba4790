"""Training step without a trainer: the cost of a method by itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab.internals import torch_parts


class BareLoop:
    """A copy of a method, trained by a plain loop: batch, loss, gradient, step.

    Args:
        trainer: that of the original, at the start of its training.
        method: the original; its networks and optimiser settings are copied.
        data: data module of the batches.
    """

    def __init__(self, trainer: L.Trainer, method: L.LightningModule, data: Any) -> None:
        self.method, self.data, self.step_number = copy.deepcopy(method), data, 0
        self.clip, self.precision = trainer.gradient_clip_val, trainer.precision_plugin
        self.place = SimpleNamespace(
            global_step=0, current_epoch=0, world_size=1, global_rank=0, datamodule=data,
            max_steps=trainer.max_steps, max_epochs=trainer.max_epochs,
            estimated_stepping_batches=trainer.estimated_stepping_batches,
            num_training_batches=trainer.num_training_batches, is_global_zero=True,
            accumulate_grad_batches=trainer.accumulate_grad_batches,
            gradient_clip_val=self.clip, gradient_clip_algorithm=None,
            precision_plugin=self.precision, fit_loop=trainer.fit_loop, sanity_checking=False,
            strategy=SimpleNamespace(optimizer_step=self._stepped),
        )  # fmt: skip
        self.method.trainer = self.place  # type: ignore[assignment]
        found: Any = self.method.configure_optimizers()
        self.optimizers = found if isinstance(found, list) else [found]
        self.place.optimizers = self.optimizers
        self.method.optimizers = lambda **_: [  # type: ignore[method-assign, assignment]
            self._lightning(o) for o in self.optimizers
        ]
        self.method.manual_backward = lambda loss, **kw: loss.backward(**kw)  # type: ignore[method-assign]
        self._loader: Any = None
        self._batches: Iterator[Any] = iter(())

    def batch(self) -> Any:
        """The next one, augmented, on the method's device."""
        raw = next(self._batches, None)
        if raw is None:
            if self._loader is None:
                self._loader = self.data.train_dataloader()
            else:
                self.place.current_epoch += 1
            self._loader.set_epoch(self.place.current_epoch)
            self._batches = iter(self._loader)
            raw = next(self._batches)
        return self.data.to_device(raw, self.method.device)

    def step(self) -> None:
        """One step of training."""
        batch = self.batch()
        self.step_number += 1
        if not self.method.automatic_optimization:
            with self.precision.forward_context():
                self.method.training_step(batch, self.step_number)
            return

        def closure() -> Tensor:
            self.optimizers[0].zero_grad()
            loss = self.loss(batch)
            loss.backward()
            if self.clip:
                torch.nn.utils.clip_grad_norm_(self.method.parameters(), self.clip)
            return loss

        self.place.global_step += 1
        self.method.optimizer_step(0, self.step_number, self.optimizers[0], closure)

    def loss(self, batch: Any) -> Tensor:
        """The method's loss, under the recipe's precision."""
        with self.precision.forward_context():
            out: Any = self.method.training_step(batch, self.step_number)
        return out["loss"] if isinstance(out, dict) else out

    def flops(self) -> int:
        """Operations of a step by torch's count of matrix products, with backward; a GAN's mean."""
        steps = 1 if self.method.automatic_optimization else 10
        with torch_parts.flop_counter() as counter:
            for _ in range(steps):
                self.step()
        return int(counter.get_total_flops()) // steps

    def _stepped(self, optimizer: Any, closure: Any, **_: Any) -> Any:
        return optimizer.step(closure)

    def _lightning(self, optimizer: Any) -> SimpleNamespace:
        """The optimiser whose steps are counted."""

        def step(closure: Any) -> Any:
            self.place.global_step += 1
            return optimizer.step(closure)

        return SimpleNamespace(step=step, zero_grad=optimizer.zero_grad)
