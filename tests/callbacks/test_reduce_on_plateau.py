"""The learning rate falls when torch's rule says so, whatever schedule is under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from genlab import optim
from genlab.callbacks import ReduceOnPlateau
from genlab.training.engine.checkpointing import Checkpoints
from tests.callbacks.tiny import digits, trainer

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")

CURVE = [1.0, 0.9, 0.95, 0.92, 0.91, 0.8, 0.85, 0.85, float("nan"), 0.85]  # val/loss by epoch


class Told(L.LightningModule):
    """Reports a validation curve that it was told, and remembers the rates of its steps."""

    def __init__(self, settings: dict[str, Any] | None, curve: list[float]) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
        self.settings, self.curve = settings, curve
        self.rates: list[float] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return (self.weight.sum() + self.bias.sum()) * batch["image"].mean()

    def on_train_batch_end(self, *args: Any) -> None:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("val/loss", self.curve[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        if self.settings is None:
            return torch.optim.SGD(self.parameters(), 1.0)
        return optim.build(self, {"name": "sgd", "lr": 1.0, "weight_decay": 0.1} | self.settings)


def fit(
    folder: Path,
    settings: dict[str, Any] | None,
    resume: Path | None = None,
    curve: list[float] = CURVE,
    **arguments: Any,
) -> Told:
    model = Told(settings, curve)
    callback = ReduceOnPlateau(**({"patience": 1, "factor": 0.5} | arguments))
    keep = Checkpoints(keep_every_n_steps=1)
    fit = trainer(folder, callback, keep, max_epochs=len(curve), limit_train_batches=2)
    fit.fit(model, datamodule=digits(batch_size=160), ckpt_path=resume, weights_only=True)
    return model


def torchs_own(**options: Any) -> list[float]:
    """The rates of the epochs when torch's scheduler lowers them itself."""
    optimizer = torch.optim.SGD([torch.zeros(1)], 1.0)
    rule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    rates = []
    for value in CURVE:
        rates.append(optimizer.param_groups[0]["lr"])
        rule.step(value)
    return rates


@pytest.mark.parametrize("settings", [None, {}])
@pytest.mark.parametrize("options", [{}, {"cooldown": 2}, {"patience": 0}, {"mode": "max"}])
def test_falls_as_torchs_own(
    tmp_path: Path, settings: dict[str, Any] | None, options: dict[str, Any]
) -> None:
    model = fit(tmp_path, settings, **options)
    expected = torchs_own(**({"factor": 0.5, "patience": 1} | options))
    assert model.rates[::2] == expected
    assert expected[-1] < 1


def test_schedule_and_ratios_stay(tmp_path: Path) -> None:
    model = fit(tmp_path, {"schedule": "cosine", "warmup_steps": 3})
    plain = fit(tmp_path / "plain", {"schedule": "cosine", "warmup_steps": 3}, patience=99)
    scale = [a / b for a, b in zip(model.rates, plain.rates, strict=True)]
    assert scale[::2] == pytest.approx(torchs_own(factor=0.5, patience=1))


def test_no_rate_falls_below_the_least(tmp_path: Path) -> None:
    model = fit(tmp_path, {}, min_lr=0.4)
    assert min(model.rates) == 0.4
    assert min(fit(tmp_path / "free", {}).rates) < 0.4


@pytest.mark.parametrize("step", [8, 9])  # at an epoch's end after a reduction, and in mid-epoch
def test_resumed_goes_on(tmp_path: Path, step: int) -> None:
    straight = fit(tmp_path / "a", {"schedule": "linear"})
    middle = tmp_path / "a" / "checkpoints" / f"step-{step:08d}.ckpt"
    resumed = fit(tmp_path / "b", {"schedule": "linear"}, middle)
    assert resumed.rates == straight.rates[step:]


def test_an_unknown_monitor_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ReduceOnPlateau.monitor val/los .*val/loss"):
        fit(tmp_path, {}, monitor="val/los")


@pytest.mark.parametrize(
    "arguments", [{"mode": "least"}, {"factor": 1.5}, {"patience": -1}, {"min_lr": -1.0}]
)
def test_refusals(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"ReduceOnPlateau.*{next(iter(arguments))}"):
        ReduceOnPlateau(**arguments)
