"""Common base of WGANGP and CVAEGAN: networks with an optimiser each that step in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab import distributed
from genlab.contracts import Batch
from genlab.internals import lightning_loops, torch_parts
from genlab.metrics import log_steps


class Alternation(L.LightningModule):
    """Steps of several optimisers in a batch, of which the first alone counts.

    Only the first optimiser advances ``global_step``: ``trainer.max_steps``, schedules, logging,
    checkpoints and progress count its steps. Gradient scaling and hooks before a step are the same
    for all. Lightning refuses ``trainer.accumulate_grad_batches`` and ``trainer.gradient_clip_val``
    to methods that step by themselves; hyper-parameters of those names stand in for them.
    """

    configure_callbacks = log_steps
    reads_views = False

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def step(
        self, place: int, loss: Callable[..., dict[str, Any]], *batch: Tensor
    ) -> dict[str, Tensor]:
        """One step of one optimiser on a batch; the batch's mean metrics.

        Others than the first go through ``strategy.optimizer_step``, which Lightning's optimiser
        calls after counting.

        Args:
            place: number of the optimiser in `configure_optimizers`.
            loss: function of the batch's tensors that gives ``loss`` and metrics, means over it.
            batch: tensors with a row for each image.
        """
        optimizer, figures = self.trainer.optimizers[place], dict[str, Tensor]()
        own = [p for group in optimizer.param_groups for p in group["params"]]

        def closure() -> Tensor:
            optimizer.zero_grad()
            figures.update(self._backward(own, loss, *batch))
            return figures["loss"]

        if place:
            lightning_loops.step_uncounted(self.trainer, optimizer, closure, self)
        else:
            self.optimizers()[0].step(closure)  # type: ignore[index]
        return figures

    def _backward(
        self, own: list[nn.Parameter], loss: Callable[..., dict[str, Any]], *batch: Tensor
    ) -> dict[str, Tensor]:
        """Gradients for the parameters, from the batch in parts; the batch's mean metrics."""
        size, figures = len(batch[0]), dict[str, Tensor]()
        parts = min(size, self.hparams["accumulate_grad_batches"])
        inputs = None if distributed.active() else own
        for part in zip(*(x.tensor_split(parts) for x in batch), strict=True):
            share = len(part[0]) / size
            found = loss(*part)
            total = share * found["loss"]
            if distributed.active():  # DDP waits for a gradient of all networks' parameters
                total = total + sum(0 * p.sum() for p in self.parameters() if p.requires_grad)
            with torch.autocast(self.device.type, enabled=False):  # else it rounds derivatives too
                self.manual_backward(total, inputs=inputs)
            for name, value in found.items():
                figures[name] = figures.get(name, 0) + share * value.detach()
        return figures

    def labels(self, batch: Batch, num_classes: int, reader: str) -> Tensor:
        """Classes of the images, (B,); refused on a CPU where one is unknown: a GPU would wait.

        Args:
            batch: batch with ``label``.
            num_classes: number of classes that are read, 0 for none.
            reader: name of what reads them, for the message.

        Raises:
            ValueError: a label is not a class.
        """
        label: Tensor = batch["label"]
        wrong = (label < 0) | (label >= num_classes)
        if num_classes and torch_parts.on_host(label) and wrong.any():
            raise ValueError(f"{reader} requires labels from 0 to {num_classes - 1}")
        return label

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradient, whole and unscaled, of the network that is about to step."""
        if self.hparams["gradient_clip_val"] is not None:
            own = [p for group in optimizer.param_groups for p in group["params"]]
            torch.nn.utils.clip_grad_norm_(own, self.hparams["gradient_clip_val"])

    def on_train_batch_end(self, *args: Any) -> None:
        """Set the logged step to the counted steps: Lightning counts batches."""
        lightning_loops.set_logged_step(self.trainer, max(0, self.global_step - 1))
