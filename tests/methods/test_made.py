"""MADE: averages of orders, draws, starting frequencies, and a distribution that is learnt."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.data import Vectors
from genlab.methods.made import MADE
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer

EVERY = torch.tensor(list(product([0.0, 1.0], repeat=4)))[..., None, None]  # (16, 4, 1, 1)


def made(**options: Any) -> MADE:
    """A small one whose conditionals are not those of independent variables."""
    torch.manual_seed(0)
    given: dict[str, Any] = {"hidden_dims": [12], "orders": 3}
    method = MADE(4, 1, **(given | options)).eval()
    with torch.no_grad():
        for p in method.parameters():
            p.add_(torch.randn_like(p))
    return method


@torch.no_grad()
def test_evaluation_averages_probabilities_not_their_logarithms() -> None:
    method = made()
    each = torch.stack([-method.nll(EVERY, k) for k in range(3)])
    found = method.validation_step({"image": EVERY}, 0)["loss"]
    assert found.item() == pytest.approx(-each.exp().mean(0).log().mean().item(), abs=1e-5)
    assert found < -each.mean() - 0.01
    assert method.log_prob(EVERY).exp().sum().item() == pytest.approx(1.0, abs=1e-5)


@torch.no_grad()
def test_more_levels_are_a_distribution_too() -> None:
    method = made(levels=3)
    every = torch.tensor(list(product([0.0, 0.5, 1.0], repeat=4)))[..., None, None]
    assert method.log_prob(every).exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    found = method.validation_step({"image": every}, 0)
    bits = found["loss"] / (4 * torch.log(torch.tensor(2.0)))
    assert found["bits_per_dim"].item() == pytest.approx(bits.item())


@pytest.mark.parametrize("levels", [2, 3])
def test_draws_have_the_probabilities_of_the_model(levels: int) -> None:
    method = made(levels=levels)
    drawn = method.sample(40_000).flatten(1)
    values = torch.arange(levels) / (levels - 1)
    every = torch.tensor(list(product(values.tolist(), repeat=4)))
    with torch.no_grad():
        expected = method.log_prob(every[..., None, None]).exp()
    found = (drawn[:, None] == every).all(2).float().mean(0)
    assert found.sum().item() == pytest.approx(1.0)
    assert (found - expected).abs().max() < 0.012  # over 4.8 standard errors


def test_steps_take_the_orders_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    method, seen = made(), list[int]()

    def noted(image: Tensor, order: int) -> Tensor:
        seen.append(order)
        return image.sum()

    steps = iter(range(7))
    monkeypatch.setattr(MADE, "global_step", property(lambda _: next(steps)))
    monkeypatch.setattr(method, "nll", noted)
    for _ in range(7):
        method.training_step({"image": EVERY}, 0)
    assert seen == [0, 1, 2, 0, 1, 2, 0]


def written(folder: Path, rows: Tensor) -> Vectors:
    np.save(folder / "x.npy", rows.numpy())
    return Vectors(str(folder / "x.npy"), batch_size=100, val_size=200, test_size=200)


@pytest.mark.parametrize("levels", [2, 3])
def test_training_starts_at_the_frequencies(levels: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = written(tmp_path, (torch.rand(2000, 5) ** 2 * levels).floor() / (levels - 1))
    method = MADE(5, 1, levels, [8], optimizer={"name": "torch.sgd", "lr": 1e-12})
    trainer(tmp_path, max_steps=1).fit(method, datamodule=data)
    train = torch.cat([data.to_device(b)["image"] for b in data.bank_dataloader("train")])
    loss = method.validation_step({"image": train}, 0)["loss"].item()
    value = (train[:, :, 0, 0] * (levels - 1)).long()
    p = torch.nn.functional.one_hot(value, levels).double().mean(0)  # (5, levels)
    assert loss == pytest.approx(-(p * p.log()).sum().item(), abs=1e-3)


def test_training_on_grey_values_starts_at_their_means(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = written(tmp_path, torch.rand(2000, 5) ** 2)
    method = MADE(5, 1, 2, [8], optimizer={"name": "torch.sgd", "lr": 1e-12})
    trainer(tmp_path, max_steps=1).fit(method, datamodule=data)
    train = torch.cat([data.to_device(b)["image"] for b in data.bank_dataloader("train")])
    p = train.double().mean(0).flatten()
    entropy = -(p * p.log() + (1 - p) * (1 - p).log()).sum().item()
    loss = method.validation_step({"image": train}, 0)["loss"].item()
    assert loss == pytest.approx(entropy, abs=1e-3)


def test_a_chain_of_variables_is_learnt(tmp_path: Path) -> None:
    """x_d copies x_(d-1) nine times of ten: log 2 + 7 H(.1) nats; 8 log 2 if independent."""
    torch.manual_seed(0)
    flips = torch.rand(6000, 8) < 0.1
    flips[:, 0] = torch.rand(6000) < 0.5
    data = written(tmp_path, (flips.cumsum(1) % 2).float())
    method = MADE(8, 1, hidden_dims=[32], orders=2, optimizer={"name": "adam", "lr": 1e-2})
    run = trainer(tmp_path, Reseed(), max_epochs=8, limit_val_batches=0)
    run.fit(method, datamodule=data)
    run.test(method, datamodule=data, verbose=False)
    assert float(run.callback_metrics["test/loss"]) == pytest.approx(2.969, abs=0.15)


def test_bad_arguments_are_named() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"levels": 1}, "levels must be"),
        ({"orders": 0}, "orders 0"),
    ]
    for options, words in wrong:
        with pytest.raises(ValueError, match=words):
            MADE(4, 1, **options)
