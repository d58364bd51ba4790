"""Figures of points in the plane: what is covered, what lies on the data, what is true."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genlab.callbacks.plane_metrics import PlaneMetrics, coverage
from genlab.data import Digits, Toys
from genlab.data.toys import KINDS
from tests.callbacks.tiny import trainer
from tests.methods.programs_flows import small


@pytest.mark.parametrize("kind", KINDS)
def test_points_lie_on_the_part_that_they_were_drawn_from(kind: str) -> None:
    data = Toys(kind) if kind == "checkerboard" else Toys(kind, noise=0.05)
    points, label = data.draw(20_000, torch.Generator().manual_seed(0))
    found = data.component(points)
    assert (found == label).float().mean() > 0.999
    far = data.component(torch.tensor([[9.0, 9.0], [0.7, 0.2]]))
    assert far[0] == -1
    if kind == "eight_gaussians":
        assert far[1] == -1


def test_coverage_by_hand() -> None:
    """100 samples of 4 parts: a fair share is 25, and 5 are enough to count as covered."""
    component = torch.tensor([0] * 60 + [1] * 5 + [2] * 4 + [-1] * 31)
    figures = coverage(component, 4)
    assert figures["modes"] == 2
    assert figures["on_data"].item() == pytest.approx(0.69)


def test_the_true_density_has_no_excess_and_a_lower_one_has(tmp_path: Path) -> None:
    data = Toys(size=96, held_out=64, batch_size=32)
    flow = small("realnvp_toys", optimizer={"lr": 1e-3})
    flow.log_prob = lambda x, label=None: data.log_prob(x) - 0.25
    flow.sample = lambda n: data.draw(n)[0].view(-1, 2, 1, 1)
    run = trainer(tmp_path, PlaneMetrics(count=2000), max_epochs=1)
    run.validate(flow, datamodule=data, verbose=False)
    figures = dict(run.callback_metrics)
    assert figures["val/excess_nats"].item() == pytest.approx(0.25, abs=1e-5)
    assert figures["val/modes"] == 8
    assert figures["val/on_data"] > 0.99
    assert "test/modes" in run.test(flow, datamodule=data, verbose=False)[0]


def test_nothing_is_said_of_images_and_the_noise_of_training_is_left_alone(tmp_path: Path) -> None:
    run = trainer(tmp_path, PlaneMetrics(), max_epochs=1, limit_train_batches=1)
    run.fit(small("nice"), datamodule=Digits(batch_size=32, limit=160, val_size=100))
    assert not [k for k in run.callback_metrics if "modes" in k or "excess" in k]
    weights = []
    for watching in ([], [PlaneMetrics(count=64)]):
        torch.manual_seed(0)
        flow = small("realnvp_toys", optimizer={"lr": 1e-3})
        torch.manual_seed(1)
        run = trainer(tmp_path / str(len(watching)), *watching, max_epochs=2)
        run.fit(flow, datamodule=Toys(size=96, held_out=64, batch_size=32))
        weights.append([p.clone() for p in flow.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
