"""Optimisers from plain settings, and the schedule that lives in them."""

from __future__ import annotations

import copy
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from genlab import optim
from genlab.optim.build import attach_schedule, decay_groups, lr_factor


class Net(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv2d(1, 1, 1))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def rates(settings: dict[str, Any], total: int, steps: int) -> list[float]:
    module = Net()
    module._trainer = type("T", (), {"estimated_stepping_batches": total, "max_epochs": 5})()
    optimizer = optim.build(module, settings)
    found = []
    for _ in range(steps):
        optimizer.step()
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_warmup_reaches_the_peak_and_the_cosine_falls() -> None:
    lr = rates({"name": "sgd", "lr": 1.0, "schedule": "cosine", "warmup_steps": 3}, 10, 10)
    assert lr[:4] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])
    assert lr[3:] == pytest.approx([lr_factor(s, 10, 3, "cosine", 0.0) for s in range(3, 10)])
    assert lr == sorted(lr[:3]) + sorted(lr[3:], reverse=True)
    assert 0 < lr[-1] < 0.06


def test_warmup_in_epochs_and_a_floor() -> None:
    lr = rates({"lr": 2.0, "schedule": "linear", "warmup_epochs": 1, "final_lr": 0.5}, 10, 10)
    assert lr[1] == pytest.approx(2.0)
    assert min(lr[2:]) > 1.0


def test_the_schedule_continues_from_the_state() -> None:
    def make() -> tuple[Net, torch.optim.Optimizer]:
        module = Net()
        module._trainer = type("T", (), {"estimated_stepping_batches": 9, "max_epochs": 5})()
        return module, optim.build(module, {"lr": 1.0, "schedule": "cosine"})

    _, straight = make()
    _, first = make()
    for _ in range(4):
        straight.step()
        first.step()
    _, second = make()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    straight.step()
    second.step()
    assert second.param_groups[0]["lr"] == straight.param_groups[0]["lr"] != 1.0


def test_every_trained_parameter_is_in_one_group_and_norms_and_biases_do_not_decay() -> None:
    module = Net()
    groups = decay_groups(module.named_parameters(), 0.1)
    members = [id(p) for g in groups for p in g["params"]]
    assert len(members) == len(set(members))
    assert set(members) == {id(p) for p in module.parameters() if p.requires_grad}
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]


def test_betas_of_integers_are_taken() -> None:
    optimizer = optim.build(Net(), {"name": "adam", "betas": [0, 0.9]})
    assert optimizer.param_groups[0]["betas"] == (0.0, 0.9)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"name": "adamm"}, "adam"), ({"schedule": "cos"}, "cosine"), ({"lrr": 1}, "lrr"),
     ({"lr": -1}, "lr"), ({"warmup_steps": "x"}, "warmup_steps")],
)  # fmt: skip
def test_wrong_settings_are_named(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        optim.check(settings)


def test_a_schedule_needs_an_end() -> None:
    module = Net()
    module._trainer = type(
        "T", (), {"estimated_stepping_batches": float("inf"), "max_epochs": -1}
    )()
    with pytest.raises(ValueError, match="max_epochs"):
        attach_schedule(
            torch.optim.SGD(module.net.parameters(), 1.0),
            module,
            {"schedule": "cosine", "final_lr": 0, "warmup_steps": 0, "warmup_epochs": 0},
        )
