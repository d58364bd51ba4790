"""Optimisers from plain settings."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import timm.optim
import torch

from genlab import optim
from genlab.optim import names
from genlab.optim.checking import DEFAULTS
from tests.optim.tiny import Tiny, batches, train, weights

ELSEWHERE = ("bnb", "fused")  # bitsandbytes and apex: packages of their own, on CUDA only
HERE = [n for n in names.known() if not n.startswith((*ELSEWHERE, "kron", "torch.muon"))]


def test_every_optimiser_of_torch_has_a_name() -> None:
    classes = {
        n.lower()
        for n, c in vars(torch.optim).items()
        if inspect.isclass(c) and issubclass(c, torch.optim.Optimizer)
    }
    assert classes - set(names.known()) == {"optimizer", "sparseadam"}
    assert set(timm.optim.list_optimizers()) <= set(names.known())
    assert "torch.adafactor" in names.known()


@pytest.mark.parametrize("name", [*HERE, "lookahead_lion"])
def test_every_optimiser_moves_the_weights_under_the_trainer(name: str) -> None:
    """With a schedule that changes its learning rate and a norm that does not decay."""
    settings: dict[str, Any] = {"name": name, "lr": 1e-2, "schedule": "linear"}
    accepted = "weight_decay" in names.accepted(name)
    module, trainer = train(settings | ({"weight_decay": 0.1} if accepted else {}), steps=2)
    torch.manual_seed(0)
    moved = (weights(module) - weights(Tiny())).abs()
    assert moved.max() > 1e-6
    assert moved.isfinite().all()
    assert trainer.global_step == 2
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.5e-2)


@pytest.mark.filterwarnings("ignore:It is highly recommended to have 'opt_einsum'")
def test_kron_and_muon_of_torch_are_made() -> None:
    optim.check({"name": "kron"})
    optim.check({"name": "torch.muon"})
    with pytest.raises(ValueError, match="only supports 2D"):
        optim.build(Tiny(), {"name": "torch.muon"})


def test_lookahead_goes_half_way_back_at_every_sixth_step() -> None:
    """Timm's first slow weights are those of step 6, so the second sixth step is the first pull."""
    for steps, same in ((11, True), (12, False)):
        ahead, plain = (
            weights(train({"name": name}, steps)[0]) for name in ("lookahead_lion", "lion")
        )
        assert torch.equal(ahead, plain) == same


def test_lbfgs_takes_several_closures_a_step_and_beats_gradient_descent() -> None:
    losses = {}
    for name, lr in (("lbfgs", 1.0), ("torch.sgd", 0.1)):
        module, _ = train({"name": name, "lr": lr}, steps=4, limit_train_batches=1)
        module.seen.clear()
        batch = next(iter(batches()))
        losses[name] = float(module.training_step(batch, 0).detach())
    assert losses["lbfgs"] < 0.2 * losses["torch.sgd"]
    assert len(train({"name": "lbfgs"}, steps=1)[0].seen) > 5


def test_no_setting_has_the_name_of_an_optimisers_argument() -> None:
    taken: set[str] = set()
    for name in names.known():
        if not name.startswith(ELSEWHERE):
            taken |= names.accepted(name).keys()
    assert taken & set(DEFAULTS) == {"lr", "weight_decay"}


def test_betas_of_integers_are_taken() -> None:
    optimizer = optim.build(Tiny(), {"name": "adam", "betas": [0, 0.9]})
    assert optimizer.param_groups[0]["betas"] == (0.0, 0.9)


def test_one_dictionary_may_ask_for_everything() -> None:
    settings = {
        "name": "adamw", "lr": 0.01, "weight_decay": 0.1, "schedule": "onecycle", "sam": 0.05,
        "agc": 0.02, "layer_decay": 0.5, "lr_scale": {"head": 3.0},
    }  # fmt: skip
    module, trainer = train(settings, steps=4)
    rates = sorted({g["lr"] / g["peak_lr"] for g in trainer.optimizers[0].param_groups})
    assert rates == pytest.approx([rates[0]] * len(rates))
    assert {g["peak_lr"] for g in trainer.optimizers[0].param_groups} == {0.03, 0.005, 0.0025}
    assert len(module.seen) == 8


def test_the_groups_of_old_checkpoints_are_those_of_new_ones() -> None:
    """Without the new settings: what decays, then what does not, with the keys of version 0.1."""
    groups = optim.build(Tiny(), {"name": "adam", "weight_decay": 0.1}).state_dict()["param_groups"]
    assert [len(g["params"]) for g in groups] == [3, 5]
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]
    assert groups[0]["schedule_step"] == 0
    assert {g["peak_lr"] for g in groups} == {1e-3}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "adamm"}, "unknown optimizer adamm; did you mean adam or"),
        ({"name": "sparseadam"}, "unknown optimizer sparseadam"),
        ({"name": "lookahead_lbfgs"}, "unknown optimizer lookahead_lbfgs"),
        ({"schedule": "cos"}, "unknown schedule 'cos'; did you mean cosine?"),
        ({"lrr": 1}, "unknown argument lrr; did you mean lr?"),
        ({"sma": 1}, "unknown argument sma; did you mean sam?"),
        ({"name": "torch.sgd", "betas": [0.9, 0.99]}, "unknown argument betas"),
        ({"betas": [2, 3]}, "beta"),
        ({"name": "adam", "betas": [0.9]}, "betas must be a list of 2 numbers, got [0.9]"),
        ({"name": "torch.adam", "betas": [0.9] * 3}, "betas must be a list of 2 numbers"),
        ({"lr": -1}, "lr must be a number >= 0, got -1"),
        ({"warmup_steps": "x"}, "warmup_steps must be"),
        ({"agc": 0}, "agc must be a number > 0"),
        ({"agc": True}, "agc must be a number > 0"),
        ({"clip_each": 0}, "clip_each must be a number > 0"),
        ({"final_weight_decay": -0.1}, "final_weight_decay must be a number >= 0"),
        ({"name": "lbfgs", "final_weight_decay": 0.1}, "it has no final_weight_decay"),
        ({"layer_decay": 1.5}, "layer_decay must be at most 1"),
        ({"lr_scale": {"head": 0}}, "lr_scale must map parts to factors > 0"),
        ({"lr_scale": 3}, "lr_scale must map"),
        ({"pct_start": 0.2}, "pct_start is for schedule onecycle, not constant"),
        ({"schedule": "cosine", "milestones": [0.5]}, "milestones is for schedule step"),
        ({"schedule": "onecycle", "warmup_epochs": 1}, "does nothing with schedule onecycle"),
        ({"schedule": "step"}, "milestones must list"),
        ({"schedule": "step", "milestones": [0.5, 30]}, "milestones must list"),
        ({"name": "lbfgs", "weight_decay": 0.1}, "it has no weight_decay"),
        ({"name": "lbfgs", "lr_scale": {"head": 2}}, "lr_scale cannot be combined with lbfgs"),
        ({"name": "lbfgs", "sam": 0.1}, "sam cannot be combined with lbfgs"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        optim.check(settings)
    assert "\n" not in str(error.value)
