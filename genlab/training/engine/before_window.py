"""All that a window of batches may change, and the way back to what it was before the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning as L
from torch import Tensor
from torchmetrics import Metric

from genlab.internals import torch_parts
from genlab.training.engine.snapshot import Snapshot

Settings = dict[int, list[dict[str, Any]]]  # of each optimiser's groups, without tensors


class BeforeWindow:
    """Buffers, sums of metrics, settings of optimisers; for steps that are undone weights, moments.

    Args:
        trainer: in training.
        method: its tensors are remembered.
        whole: True if a step may have been taken when the window is undone.
    """

    def __init__(self, trainer: L.Trainer, method: L.LightningModule, whole: bool) -> None:
        self.trainer, self.method, self.whole = trainer, method, whole
        self._snapshot = Snapshot()
        self._buffers = [
            (part, name)
            for part in method.modules()
            for name, _ in part.named_buffers(recurse=False)
        ]
        self._metrics = [part for part in method.modules() if isinstance(part, Metric)]
        self._unused: list[Metric] = []
        self.settings: Settings = {}
        self._stateful: dict[int, int] = {}  # of each optimiser: parameters that have moments

    def remember(self) -> None:
        """Keep the present values."""
        self.settings = {
            id(o): [{k: v for k, v in group.items() if k != "params"} for group in o.param_groups]
            for o in self.trainer.optimizers
        }
        self._stateful = {id(o): len(o.state) for o in self.trainer.optimizers}
        self._unused = [metric for metric in self._metrics if not metric.update_called]
        self._snapshot.take(self._tensors())

    def copies(self) -> list[Tensor]:
        """The kept values, in memory of their own."""
        return self._snapshot.copies()

    def put_back(self) -> None:
        """Set everything to what was kept; no gradient stays, nor moments made since."""
        self._snapshot.put_back()
        self.put_settings_back(self.settings)
        for metric in self._unused:
            if metric.update_called:
                metric.reset()
        for optimizer in self.trainer.optimizers:
            if self.whole:
                for made in list(optimizer.state)[self._stateful[id(optimizer)] :]:
                    del optimizer.state[made]
            optimizer.zero_grad()

    def put_settings_back(self, settings: Settings) -> None:
        """Set the optimisers' settings to those of this window or of one before it."""
        self.settings = settings
        for optimizer in self.trainer.optimizers:
            old = settings[id(optimizer)]
            for group, values in zip(optimizer.param_groups, old, strict=True):
                group.update(values)

    def put_back_where(self, flag: Tensor) -> None:
        """Set tensors back where a flag is true: () bool, on the device. What was kept is lost."""
        self._snapshot.put_back_where(flag)

    def _tensors(self) -> Iterator[Tensor]:
        for part, name in self._buffers:
            if (buffer := getattr(part, name)) is not None:
                yield buffer
        device = self.trainer.strategy.root_device
        for metric in self._metrics:
            sums = metric.metric_state.values() if metric.update_called else ()
            for value in sums:  # those of validation may be closed to training
                if (
                    isinstance(value, Tensor)
                    and value.device == device
                    and not value.is_inference()
                ):
                    yield value
        if self.whole:
            yield from self.method.parameters()
            for optimizer in self.trainer.optimizers:
                for state in optimizer.state.values():
                    found = (t for t in torch_parts.tree_leaves(state) if isinstance(t, Tensor))
                    yield from (t for t in found if t.device == device)
