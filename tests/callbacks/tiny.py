"""A method and a data set of a few numbers, to watch the callbacks at work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab.checkpoints import AtomicCheckpointIO
from genlab.data import Digits


class Line(L.LightningModule):
    """Fits the mean brightness; its loss of batch k is known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.noise: list[float] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        self.noise.append(torch.rand(()).item())
        loss = (self.weight - batch["image"].mean()).square().sum()
        return {"loss": loss, "index": torch.tensor(float(batch_idx))}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("val/loss", (self.weight - 0.3).abs().sum())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.05)


def trainer(folder: Path, *callbacks: L.Callback, **options: Any) -> L.Trainer:
    """A quiet CPU trainer that writes into ``folder``."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 4,
        "max_epochs": 2,
        "use_distributed_sampler": False,
        "plugins": [AtomicCheckpointIO()],
    }
    chosen = defaults | options
    return L.Trainer(default_root_dir=folder, callbacks=list(callbacks), **chosen)


def digits(**options: Any) -> Digits:
    """320 digits: 10 batches of 32 an epoch."""
    return Digits(**({"batch_size": 32, "limit": 320, "val_size": 100} | options))
