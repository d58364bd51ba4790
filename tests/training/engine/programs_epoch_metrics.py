"""Programs that tests run on one process and on two."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from genlab.internals import metric_parts
from genlab.metrics.step_metrics import StepMetrics
from genlab.training.engine.epoch_metrics import KEY, EpochMetrics


class Method(nn.Module):
    """A method with a metric of training."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.seen = MeanMetric()


def restored(rank: int, world: int) -> dict[str, Tensor]:
    """What each rank has after all have read rank zero's file: its own sums."""
    trainer: Any = _trainer()
    steps, epochs, method = StepMetrics(), EpochMetrics(), Method()
    steps._add({"loss": torch.tensor(rank + 1.0)}, 1)
    method.seen.update(torch.tensor(rank + 10.0))
    file: dict[str, Any] = {}
    epochs.on_save_checkpoint(trainer, method, file)  # type: ignore[arg-type]
    assert len(file[KEY]["ranks"]) == world
    state = steps.state_dict()

    steps, epochs, method = StepMetrics(), EpochMetrics(), Method()
    steps.load_state_dict(state)
    epochs.on_load_checkpoint(trainer, method, file)  # type: ignore[arg-type]
    for callback in (steps, epochs):
        callback.on_train_start(trainer, method)  # type: ignore[arg-type]
    found = metric_parts.states(method)["seen"]["state"]
    return {"loss": steps._sums[0], "seen": found["mean_value"]}


def _trainer() -> SimpleNamespace:
    """As much of a trainer as the callbacks ask for."""
    progress = SimpleNamespace(current=SimpleNamespace(completed=1, processed=1))
    loop = SimpleNamespace(
        val_loop=SimpleNamespace(_results={}), _results={}, batch_progress=progress
    )
    return SimpleNamespace(
        state=SimpleNamespace(fn="fit"), fit_loop=SimpleNamespace(epoch_loop=loop), loggers=[],
        _logger_connector=None, callback_metrics={}, log_every_n_steps=5, global_step=1,
        lightning_module=None,
    )  # fmt: skip
