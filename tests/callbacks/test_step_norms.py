"""Norms by layer against the closed form of a linear network's gradient."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from genlab.callbacks import StepNorms
from genlab.callbacks.step_norms import decades, layers
from genlab.networks.layers import dense_layers
from genlab.training.tracking.csv_log import CSVLog
from tests.callbacks.tiny import digits, trainer

RATE = 0.05


class Linear(L.LightningModule):
    """Two linear maps and no activation; notes what it saw before each step."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 4, bias=False), nn.Linear(4, 3, bias=False)
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        x = batch["image"].flatten(1)
        self.seen.append(
            (x, self.first.weight.detach().clone(), self.second.weight.detach().clone())
        )
        return self.second(self.first(x)).square().sum() / (2 * len(x))

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Nothing is measured."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), RATE)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("accumulated", [1, 2])
def test_norms_are_those_of_a_linear_networks_closed_form(tmp_path: Path, accumulated: int) -> None:
    """Loss |B A x|^2 / 2: gradients B'B A C and B A C A', with C the mean of x x'."""
    model = Linear()
    run = trainer(
        tmp_path, StepNorms(every_n_steps=2), max_epochs=1, enable_checkpointing=False,
        accumulate_grad_batches=accumulated, gradient_clip_val=1e3,
        logger=CSVLog(tmp_path / "metrics.csv"),
    )  # fmt: skip
    run.fit(model, datamodule=digits())
    found = [row for row in rows(tmp_path) if row.get("train/gradient_norm/first")]
    assert [int(row["step"]) for row in found] == [0, 2, 4, 6, 8]
    for row in found:
        at = int(row["step"]) * accumulated
        x = torch.cat([model.seen[at + i][0] for i in range(accumulated)]).double()
        a, b = (w.double() for w in model.seen[at][1:])
        c = x.T @ x / len(x)
        expected = {"first": (b.T @ b @ a @ c).norm(), "second": (b @ a @ c @ a.T).norm()}
        for name, gradient in expected.items():
            assert float(row[f"train/gradient_norm/{name}"]) == pytest.approx(
                float(gradient), rel=1e-4
            )
            assert float(row[f"train/update_norm/{name}"]) == pytest.approx(
                RATE * float(gradient), rel=1e-3
            )
        assert float(row["train/weight_norm/first"]) == pytest.approx(float(a.norm()), rel=1e-5)
        ratio = math.log10(float(expected["first"] / expected["second"]))
        assert float(row["train/gradient_decades"]) == pytest.approx(ratio, abs=1e-3)
    assert list((tmp_path / "pictures").glob("step_norms*.png"))


def test_layers_are_modules_with_matrices() -> None:
    network = nn.Sequential(*(m for m in dense_layers(4, 3, "weight") if m is not None),
                            nn.BatchNorm1d(3), nn.Linear(3, 2))  # fmt: skip
    network[3].weight.requires_grad_(False)
    assert {n: len(p) for n, p in layers(network).items()} == {"0": 3}
    network[3].weight.requires_grad_(True)
    assert {n: len(p) for n, p in layers(network).items()} == {"0": 3, "3": 2}


def test_a_vanished_gradient_is_a_number() -> None:
    assert decades([1e-3, 7.0, 1.0]) == pytest.approx(-3)
    assert decades([0.0, 1.0]) == -30
    assert all(math.isnan(decades(bad)) for bad in ([], [1.0, 0.0], [math.inf, 1.0]))
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        StepNorms(0)
