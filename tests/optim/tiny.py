"""A small method and its training, for the tests of optimisers."""

from __future__ import annotations

from typing import Any

import lightning as L
import timm
import torch
from torch import Tensor, nn

from genlab import optim


class Holder(nn.Module):
    """Stands where a method has its encoder."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone


class Tiny(L.LightningModule):
    """An encoder with a norm and dropout, and a head; the loss of a regression."""

    def __init__(self, settings: dict[str, Any] | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        backbone = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(dropout), nn.Linear(6, 3)
        )
        self.encoder = Holder(backbone)
        self.head = nn.Linear(3, 2)
        self.settings = settings
        self.seen: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        h = self.encoder.backbone(batch)
        self.seen.append(h.detach().clone())
        return (self.head(h) - batch[:, :2]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optim.build(self, self.settings)


def batches(n: int = 16) -> Any:
    """``n`` fixed batches of (8, 4)."""
    data = torch.randn(n, 8, 4, generator=torch.Generator().manual_seed(1))
    return torch.utils.data.DataLoader(list(data.flatten(0, 1)), batch_size=8)  # type: ignore[arg-type]


def train(
    settings: dict[str, Any], steps: int = 4, dropout: float = 0.0, **options: Any
) -> tuple[Tiny, L.Trainer]:
    """Weights after ``steps`` optimiser steps from a fixed start."""
    torch.manual_seed(0)
    module = Tiny(settings, dropout)
    trainer = quiet(max_steps=steps, **options)
    trainer.fit(module, batches())
    return module, trainer


def quiet(**options: Any) -> L.Trainer:
    """A trainer on the CPU that writes and prints nothing."""
    silent: dict[str, Any] = {
        "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "accelerator": "cpu", "barebones": False,
    }  # fmt: skip
    return L.Trainer(**silent | {"max_epochs": -1} | options)


def weights(module: nn.Module) -> Tensor:
    """All parameters in one vector."""
    return torch.cat([p.detach().flatten() for p in module.parameters()])


class OnTimm(L.LightningModule):
    """A timm backbone without classifier, and a head, for the groups."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__()
        backbone: Any = timm.create_model(name, num_classes=0, **kwargs)
        self.encoder = Holder(backbone)
        self.head = nn.Linear(backbone.num_features, 10)
