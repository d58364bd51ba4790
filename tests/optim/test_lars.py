"""LARS: the values of the documented form, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import optim
from genlab.optim.lars import LARS
from tests.losses.golden_embeddings import x
from tests.optim.tiny import Tiny, train


def three_steps(start: Tensor, **options: Any) -> float:
    """The sum of p after three steps down 0.5 sum (p - 1)^2."""
    p = nn.Parameter(start.clone())
    optimizer = LARS([p], **({"lr": 0.5, "momentum": 0.9} | options))
    for _ in range(3):
        optimizer.zero_grad()
        (0.5 * (p - 1).square().sum()).backward()
        optimizer.step()
    return float(p.detach().sum())


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({}, 1.0508135738),  # scaled although nothing decays
        ({"weight_decay": 0.01}, 1.0507341675),  # ||p|| / ||g + wd p||
        ({"weight_decay": 0.01, "clip_lr": True}, 1.0696281121),
    ],
)
def test_values_on_paper(options: dict[str, Any], value: float) -> None:
    assert three_steps(x(1, 4, 3), **options) == pytest.approx(value, abs=1e-9)


def test_vectors_neither_decay_nor_scale() -> None:
    assert three_steps(x(2, 1, 3)[0], weight_decay=0.01) == pytest.approx(4.7982171285, abs=1e-9)


def test_vectors_that_are_not_spared_move_as_under_swavs_larc() -> None:
    settings = {"name": "lars", "lr": 4.8, "weight_decay": 0.5}
    for spared, step in ((False, 4.8 * 0.001), (True, 4.8 * 0.25)):  # q d = .001 |w| / |d| .75
        method = Tiny()
        gain = method.get_parameter("encoder.backbone.1.weight")  # (6,), ones
        gain.grad = torch.full((6,), 0.25)  # with the decay: .25 + .5 * 1 = .75
        optim.build(method, settings | {"spare_vectors": spared}).step()
        torch.testing.assert_close(gain.detach(), torch.full((6,), 1 - step))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "lars", "spare_vectors": "no"}, "must be true or false"),
        ({"name": "lars", "spare_vectors": False, "spared_lr": 0.1}, "cannot be combined"),
        ({"name": "adamw", "spare_vectors": False}, "requires weight_decay, or name: lars"),
    ],
)
def test_sparing_nothing_is_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optim.check(settings)


def test_a_spared_matrix_moves_as_a_vector_does() -> None:
    p = nn.Parameter(x(1, 4, 3))
    before = p.detach().clone()
    p.grad = torch.ones_like(p)
    LARS([{"params": [p], "spared": True}], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(p.detach(), before - 0.5)


def test_what_is_zero_moves_as_under_momentum() -> None:
    p = nn.Parameter(torch.zeros(2, 3))
    p.grad = torch.ones(2, 3)
    LARS([p], lr=0.5, weight_decay=0.1).step()
    torch.testing.assert_close(p.detach(), torch.full((2, 3), -0.5))
    p.grad = torch.zeros(2, 3)
    LARS([p], lr=0.5).step()
    assert p.isfinite().all()


def test_the_learning_rate_is_outside_the_momentum() -> None:
    p = nn.Parameter(torch.zeros(2))
    optimizer = LARS([p], lr=1.0, momentum=0.5)
    for lr in (1.0, 0.1):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = torch.ones(2)
        optimizer.step()
    torch.testing.assert_close(p.detach(), torch.full((2,), -1.15))  # inside it were -1.6


def test_the_name_is_ours_and_groups_say_who_is_spared() -> None:
    settings = {"name": "lars", "lr": 0.3, "weight_decay": 1e-4, "momentum": 0.8}
    method = Tiny(settings)
    optimizer = optim.build(method, settings)
    assert isinstance(optimizer, LARS)
    spared = {id(p): g["spared"] for g in optimizer.param_groups for p in g["params"]}
    assert {n: spared[id(p)] for n, p in method.named_parameters()} == {
        n: p.ndim == 1 for n, p in method.named_parameters()
    }
    inner = getattr(optim.build(method, settings | {"name": "lookahead_lars"}), "_base_optimizer")  # noqa: B009
    assert isinstance(inner, LARS)


def test_it_trains_with_a_schedule_and_scaled_parts() -> None:
    settings = {"name": "lars", "lr": 1.0, "schedule": "cosine", "lr_scale": {"head": 2.0}}
    before, (method, trainer) = Tiny(), train(settings, steps=4)
    assert not torch.equal(before.head.weight, method.head.weight)
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.146447, abs=1e-5)


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"momentum": -0.1}, {"weight_decay": -1.0}])
def test_negative_numbers_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least 0"):
        LARS([nn.Parameter(torch.zeros(1))], **wrong)


def test_unknown_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="optimizer lars: unknown argument eta"):
        optim.check({"name": "lars", "eta": 0.02})


def test_a_fixed_rate_is_not_scheduled() -> None:
    settings = {"name": "torch.sgd", "lr": 0.1, "schedule": "cosine", "fixed_lr": ["head"]}
    _, trainer = train(settings, steps=4)
    rates = {g["fixed_lr"]: g["lr"] for g in trainer.optimizers[0].param_groups}
    assert rates[True] == 0.1
    assert rates[False] < 0.02
    with pytest.raises(ValueError, match=r"optimizer\.fixed_lr: no part heat"):
        optim.check({"fixed_lr": ["heat"]}, Tiny())
    with pytest.raises(ValueError, match="must list parts"):
        optim.check({"fixed_lr": "head"})
