"""Metrics of an epoch are those of the straight run, wherever its checkpoint was written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from genlab.data import Digits
from genlab.metrics.step_metrics import StepMetrics
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.epoch_metrics import EpochMetrics
from genlab.training.tracking.csv_log import CSVLog
from tests.conftest import TwoRanks

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


class Logs(L.LightningModule):
    """Logs values and torchmetrics by every way that Lightning has."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen, self.checked = nn.Linear(64, 10), MeanMetric(), MeanMetric()
        self.kept = MeanMetric()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        logits = self.layer(batch["image"].flatten(1))
        loss = nn.functional.cross_entropy(logits, batch["label"])
        size = len(batch["label"])
        self.seen.update(logits.max())
        self.kept.update(loss)
        self.log("train/object", self.seen, on_step=False, on_epoch=True, batch_size=size)
        for name in ("mean", "min", "max", "sum"):
            options: dict[str, Any] = {"on_step": False, "on_epoch": True, "batch_size": size}
            self.log(f"train/{name}", loss, reduce_fx=name, **options)
        self.log("train/both", loss, on_step=True, on_epoch=True, batch_size=size)
        return {"loss": loss}

    def on_train_epoch_end(self) -> None:
        self.log("train/kept", self.kept.compute())
        self.kept.reset()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        value = self.layer(batch["image"].flatten(1)).mean()
        self.checked.update(value)
        self.log("val/object", self.checked, batch_size=1)
        self.log("val/loss", value, batch_size=1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, resume: Path | None = None, **options: Any) -> tuple[L.Trainer, CSVLog]:
    """Three epochs of five batches, a checkpoint at every step; rows are kept as `fit` does."""
    torch.manual_seed(1)
    log = CSVLog(folder / "metrics.csv")
    keep = Checkpoints(keep_every_n_steps=1)
    trainer = L.Trainer(
        **{"max_epochs": 3, "log_every_n_steps": 3} | options,
        accelerator="cpu",
        callbacks=[StepMetrics(), EpochMetrics(), keep],
        logger=[log],
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if resume:
        content = torch.load(resume, weights_only=True)
        log.keep(content["epoch_metrics"]["rows"], content["global_step"])
    trainer.fit(Logs(), Digits(batch_size=250, val_size=200, seed=4), ckpt_path=resume,
                weights_only=True if resume else None)  # fmt: skip
    return trainer, log


def told(trainer: L.Trainer, log: CSVLog) -> tuple[Any, Any]:
    clock = "train/images_per_second"
    last = {k: float(v) for k, v in trainer.callback_metrics.items()}
    return [{k: v for k, v in row.items() if k != clock} for row in log.rows()], last


@pytest.mark.parametrize("options", [{}, {"check_val_every_n_epoch": 2}, {"max_steps": 13}])
def test_from_every_step(tmp_path: Path, options: dict[str, Any]) -> None:
    straight = told(*fit(tmp_path / "straight", **options))
    files = sorted((tmp_path / "straight/checkpoints").glob("step-*.ckpt"))
    assert len(files) == options.get("max_steps", 15)
    assert {"train/object", "train/mean", "train/both_epoch", "train/kept"} <= set(straight[0][0])
    for file in files:
        again = tmp_path / file.stem
        again.mkdir()
        (again / "metrics.csv").write_bytes((tmp_path / "straight/metrics.csv").read_bytes())
        assert told(*fit(again, file, **options)) == straight, file.stem


def test_another_monitor_has_no_best_yet(tmp_path: Path) -> None:
    one, same, other = Checkpoints("val/loss"), Checkpoints("val/loss"), Checkpoints("val/mse")
    one.best = {"score": 0.1, "step": 3}
    same.load_state_dict(one.state_dict())
    other.load_state_dict(one.state_dict())
    assert same.best == one.best
    assert other.best == {}


@pytest.mark.ddp
def test_each_rank_goes_on_with_its_own_sums(two_ranks: TwoRanks) -> None:
    one, two = two_ranks.results("tests.training.engine.programs_epoch_metrics:restored")
    found = [{name: float(value) for name, value in rank.items()} for rank in (one, *two)]
    assert found == [{"loss": 1, "seen": 10}, {"loss": 1, "seen": 10}, {"loss": 2, "seen": 11}]
