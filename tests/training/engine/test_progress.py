"""Lines of progress: the epoch that ends training, and no step twice."""

from __future__ import annotations

import re
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from genlab.optim import StepPlan
from genlab.training.engine.progress import ProgressReport


class Line(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def lines(capsys: pytest.CaptureFixture[str], **limits: Any) -> list[str]:
    """``epoch`` and ``step`` of every line of a training with ten steps an epoch."""
    trainer = L.Trainer(
        **limits, callbacks=[StepPlan(), ProgressReport(every_seconds=0)], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
    )  # fmt: skip
    capsys.readouterr()
    trainer.fit(Line(), DataLoader(torch.ones(10, 1)))  # type: ignore[arg-type]
    return re.findall(r"epoch \S+  step \S+", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("limits", "last"),
    [
        ({"max_epochs": 100, "max_steps": 30}, "epoch 3/3  step 30/30"),
        ({"max_epochs": 100, "max_steps": 3}, "epoch 1/1  step 3/3"),
        ({"max_epochs": -1, "max_steps": 12}, "epoch 2/2  step 12/12"),
        ({"max_epochs": 2}, "epoch 2/2  step 20/20"),
        ({"max_epochs": 2, "max_steps": 50}, "epoch 2/2  step 20/20"),
    ],
)
def test_the_last_line_has_the_last_epoch_and_stands_once(
    limits: dict[str, int], last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = lines(capsys, **limits)
    assert found[-1] == last
    assert len(set(found)) == len(found)
    epochs, steps = last.split()[1].split("/")[1], last.split("/")[-1]
    assert found[0] == f"epoch 1/{epochs}  step 1/{steps}"
    assert len(found) == int(steps)
