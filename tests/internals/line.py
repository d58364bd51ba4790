"""A small method, and trainings of it, for tests of Lightning's parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

from genlab.internals import lightning_loops, lightning_parts
from tests.optim.tiny import quiet


class Line(L.LightningModule):
    """A line without offset, trained on ones."""

    def __init__(self, lr: float = 0.1, automatic: bool = True) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.automatic_optimization = automatic

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor | None:
        loss = (batch[0] * self.weight).sum()
        if self.automatic_optimization:
            self.log("loss", loss.detach())
            return loss

        def closure() -> torch.Tensor:
            self.manual_backward(loss)
            return loss

        lightning_loops.step_uncounted(self.trainer, self.trainer.optimizers[0], closure, self)
        return None

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), self.hparams["lr"])


def ones(count: int = 6) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.ones(count, 1)))


def fit(trainer: L.Trainer, method: L.LightningModule | None = None, **options: Any) -> None:
    trainer.fit(method or Line(), ones(), ones(1), **options)


class Rows(DummyLogger):
    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:  # type: ignore[override]
        self.steps += [step] if "loss" in metrics else []


class Counting:
    """A loader with a state: how many batches it has given."""

    def __init__(self) -> None:
        self.given = 0
        self.loaded: dict[str, int] | None = None

    def __iter__(self) -> Any:
        for _ in range(4):
            self.given += 1
            yield [torch.ones(1, 1)]

    def __len__(self) -> int:
        return 4

    def state_dict(self) -> dict[str, int]:
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.loaded = state


class Hasty(Line):
    """Has the loaders built before a checkpoint is read."""

    validation_step = L.LightningModule.validation_step  # type: ignore[assignment]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.trainer.estimated_stepping_batches
        return super().configure_optimizers()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A checkpoint of two batches of an epoch of four."""
    trainer = quiet(max_epochs=1, max_steps=2)
    trainer.fit(Hasty(), Counting())
    trainer.save_checkpoint(tmp_path / "some.ckpt")
    return tmp_path / "some.ckpt"


class Outer(L.LightningModule):
    """A method that builds another one, as a prior builds its tokenizer."""

    def __init__(self, lr: float = 0.3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.plain, self.outside = Line(), lightning_parts.outside_cli(Line)


@pytest.fixture
def outer() -> Outer:
    cli = LightningCLI(
        L.LightningModule,
        subclass_mode_model=True,
        args={"model": {"class_path": f"{__name__}.Outer"}},
        run=False,
        save_config_callback=None,
        trainer_defaults={"logger": False, "accelerator": "cpu"},
        seed_everything_default=False,
        auto_configure_optimizers=False,
    )
    return cli.model


class Momentum(Line):
    """A line with a scheduler by steps, clipped."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class Sums(Line):
    """Logs a mean of an epoch, and a torchmetric in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.metric = MeanMetric()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("x", float(batch_idx), on_step=False, on_epoch=True, batch_size=2)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.metric.update(1.0)
        self.log("y", self.metric, batch_size=1)
