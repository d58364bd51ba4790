"""What a method's steps return is logged, by genlab's Trainer and by Lightning's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

import genlab
from genlab.data import Digits
from genlab.methods.realnvp import RealNVP
from genlab.methods.vae import VAE
from genlab.metrics import StepMetrics
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.tracking.csv_log import CSVLog
from tests.callbacks.tiny import Line, digits, trainer

pytestmark = [
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:.*in the `DataLoader` in mid-epoch"),
]


def test_step_metrics_are_the_means_between_two_lines(tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "m.csv")
    fit = trainer(tmp_path, StepMetrics(), Checkpoints(), limit_val_batches=0, max_epochs=1)
    fit.loggers = [log]
    fit.fit(Line(), datamodule=digits())
    rows = log.rows()
    assert [row["step"] for row in rows] == ["3", "7"]
    assert [float(row["train/index"]) for row in rows] == [1.5, 5.5]
    assert float(rows[0]["train/lr"]) == 0.05
    assert float(rows[0]["train/images_per_second"]) > 0


def test_step_metrics_do_not_depend_on_accumulation(tmp_path: Path) -> None:
    """The loss of a line is the mean over its micro-batches, not divided by their number."""
    found = []
    for parts in (1, 2):
        log = CSVLog(tmp_path / f"{parts}.csv")
        fit = trainer(tmp_path, StepMetrics(), Checkpoints(), accumulate_grad_batches=parts,
                      limit_val_batches=0, max_steps=4, max_epochs=-1)  # fmt: skip
        fit.loggers = [log]
        model = Line()
        model.configure_optimizers = lambda m=model: torch.optim.SGD(m.parameters(), 0.0)  # type: ignore[method-assign,misc]
        fit.fit(model, datamodule=digits(batch_size=32 * parts, seed=1))
        found.append(float(log.rows()[0]["train/loss"]))
    assert found[0] == pytest.approx(found[1], rel=0.05)


class Returns(Line):
    """Its steps return what depends on the batch, with a tensor of images for callbacks."""

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:  # type: ignore[override]
        label = batch["label"].float()
        return {"loss": label.mean(), "feature": label[:, None], "batches": label.new_tensor(1.0)}

    test_step = validation_step


def test_scalars_of_evaluation_are_means_over_images_not_batches(tmp_path: Path) -> None:
    data = digits(eval_batch_size=48)  # 100 images: 48, 48 and 4
    fit = trainer(tmp_path, StepMetrics())
    fit.validate(Returns(), datamodule=data, verbose=False)
    label = torch.cat([batch["label"] for batch in data.bank_dataloader("val")]).float()
    assert fit.callback_metrics["val/loss"].item() == pytest.approx(label.mean().item(), rel=1e-6)
    assert set(fit.callback_metrics) == {"val/loss", "val/batches"}
    fit.test(Returns(), datamodule=data, verbose=False)
    assert set(fit.callback_metrics) == {"test/loss", "test/batches"}


class Lines(L.pytorch.loggers.CSVLogger):
    """Lightning's own logger, which keeps what it is given."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.given: dict[str, float] = {}

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.given |= metrics
        super().log_metrics(metrics, step)


@pytest.mark.parametrize("kind", [VAE, RealNVP])
def test_a_plain_trainer_logs_and_its_checkpoint_loads(
    kind: type[L.LightningModule], tmp_path: Path
) -> None:
    small = {"hidden_dims": [8]} | ({"network": "mlp"} if kind is RealNVP else {"latent_dim": 2})
    method = kind(channels=1, image_size=8, **small)
    log, keep = Lines(tmp_path), ModelCheckpoint(tmp_path / "kept", "best", monitor="val/loss")
    fit = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=log, callbacks=[keep], log_every_n_steps=4,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = Digits(batch_size=32, limit=320, val_size=100)
    fit.fit(method, datamodule=data)
    assert {"train/loss", "train/lr", "val/loss"} <= set(log.given)
    assert keep.best_model_score is not None
    loaded = genlab.load(tmp_path / "kept" / "best.ckpt")
    assert type(loaded) is kind
    assert dict(loaded.hparams) == dict(method.hparams)
    for name, value in method.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=0)


def test_genlabs_trainer_keeps_its_own_callback(tmp_path: Path) -> None:
    own = StepMetrics()
    fit = trainer(tmp_path, own, Checkpoints(), max_epochs=1)
    fit.fit(VAE(1, 8, 2, hidden_dims=[8]), datamodule=digits())
    callbacks: list[L.Callback] = fit.callbacks  # type: ignore[attr-defined]
    assert [c for c in callbacks if isinstance(c, StepMetrics)] == [own]
    assert own.latest["train/loss"] > 0
