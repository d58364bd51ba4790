"""Learning rates over a run."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from genlab import optim
from genlab.optim.schedules import lr_factor
from tests.optim.tiny import Tiny


def built(settings: dict[str, Any], total: float = 10, epochs: int = 5) -> torch.optim.Optimizer:
    module = Tiny()
    trainer: Any = type("T", (), {"estimated_stepping_batches": total, "max_epochs": epochs})()
    module._trainer = trainer
    return optim.build(module, settings)


def rates(settings: dict[str, Any], total: int, steps: int, key: str = "lr") -> list[Any]:
    optimizer = built(settings, total)
    found = []
    for _ in range(steps):
        optimizer.step()
        found.append(optimizer.param_groups[0][key])
    return found


def test_warmup_reaches_the_peak_and_the_cosine_falls() -> None:
    lr = rates({"name": "sgd", "lr": 1.0, "schedule": "cosine", "warmup_steps": 3}, 10, 10)
    assert lr[:4] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])
    cosine = [1.0, 0.950484, 0.811745, 0.611260, 0.388740, 0.188255, 0.049516]
    assert lr[3:] == pytest.approx(cosine, abs=1e-6)  # (1 + cos(pi k / 7)) / 2: 0 after the end


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_rate_grows_with_the_global_batch_alone(accumulate: int) -> None:
    module = Tiny()
    data = type("D", (), {"batch_size": 512})()
    attributes: dict[str, Any] = {"datamodule": data, "accumulate_grad_batches": accumulate}
    attributes |= {"estimated_stepping_batches": 10, "max_epochs": 5, "world_size": 8}
    trainer: Any = type("T", (), attributes)()
    module._trainer = trainer
    optimizer = optim.build(module, {"name": "sgd", "lr": 0.3, "lr_batch": 256})
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.6)
    del attributes["datamodule"]
    trainer = type("T", (), attributes)()
    module._trainer = trainer
    with pytest.raises(ValueError, match="lr_batch requires a data module"):
        optim.build(module, {"name": "sgd", "lr": 0.3, "lr_batch": 256})


def test_warmup_in_epochs_and_a_floor() -> None:
    lr = rates({"lr": 2.0, "schedule": "linear", "warmup_epochs": 1, "final_lr": 0.5}, 10, 10)
    assert lr == pytest.approx([1.0, 2.0, *(2 - k / 8 for k in range(8))])


def test_the_schedule_continues_from_the_state() -> None:
    settings = {"lr": 1.0, "schedule": "onecycle"}
    straight, first, second = (built(settings, 9) for _ in range(3))
    for _ in range(4):
        straight.step()
        first.step()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    straight.step()
    second.step()
    assert second.param_groups[0]["lr"] == straight.param_groups[0]["lr"] != 1.0
    assert second.param_groups[0]["betas"] == straight.param_groups[0]["betas"] != (0.9, 0.999)


@pytest.mark.parametrize(("total", "pct"), [(10, 0.3), (97, 0.25), (1000, 0.4), (7, 0.5)])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_one_cycle_is_that_of_torch(name: str, total: int, pct: float) -> None:
    shape: dict[str, Any] = {"pct_start": pct, "div_factor": 10.0, "final_div_factor": 100.0}
    key = "momentum" if name == "sgd" else "betas"
    settings = {"name": name, "lr": 0.3, "schedule": "onecycle", **shape}
    lr, momentum = rates(settings, total, total), rates(settings, total, total, key)
    weight = [torch.nn.Parameter(torch.zeros(1))]
    theirs: torch.optim.Optimizer = (
        torch.optim.SGD(weight, momentum=0.9) if name == "sgd" else torch.optim.AdamW(weight)
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.3, total_steps=total, **shape)
    for step in range(total):
        assert lr[step] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12)
        assert momentum[step] == pytest.approx(theirs.param_groups[0][key], rel=1e-12)
        theirs.step()
        if step < total - 1:
            scheduler.step()


def test_one_cycle_can_leave_the_momentum_alone() -> None:
    settings = {"name": "sgd", "schedule": "onecycle", "cycle_momentum": False, "momentum": 0.7}
    assert set(rates(settings, 5, 5, "momentum")) == {0.7}
    with pytest.raises(ValueError, match="no momentum to cycle"):
        built({"name": "adagrad", "schedule": "onecycle"})
    built({"name": "adagrad", "schedule": "onecycle", "cycle_momentum": False})


def test_steps_at_fractions_of_the_run_or_at_epochs() -> None:
    settings = {"lr": 1.0, "schedule": "step", "milestone_factor": 0.5}
    expected = [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    assert rates(settings | {"milestones": [0.3, 0.6]}, 10, 10) == expected
    assert rates(settings | {"milestones": [2, 3]}, 10, 7) == [1, 1, 1, 1, 0.5, 0.5, 0.25]
    warm = rates(settings | {"milestones": [0.3], "warmup_steps": 2}, 10, 4)
    assert warm == [0.5, 1.0, 1.0, 0.5]
    with pytest.raises(ValueError, match="fractions of the run"):
        built(settings | {"milestones": [2]}, epochs=-1)


def test_the_cosine_of_fixmatch() -> None:
    found = [lr_factor(k, 100, 0, "cosine_7_16", 0.0) for k in (0, 50, 100)]
    assert found == pytest.approx([1.0, 0.7730, 0.1951], abs=5e-5)
    lr = rates({"lr": 1.0, "schedule": "cosine_7_16"}, 10, 10)
    assert lr == pytest.approx([lr_factor(k, 10, 0, "cosine_7_16", 0.0) for k in range(10)])


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "step", "cosine_7_16"])
def test_a_schedule_needs_an_end_and_keeps_the_weight_decay(schedule: str) -> None:
    settings = {"schedule": schedule, "weight_decay": 0.1}
    settings |= {"milestones": [0.5]} if schedule == "step" else {}
    with pytest.raises(ValueError, match="max_epochs"):
        built(settings, total=float("inf"), epochs=-1)
    assert set(rates(settings, 6, 6, "weight_decay")) == {0.1}


def test_weight_decay_moves_along_a_half_cosine_where_there_is_any() -> None:
    """DI7."""
    settings = {"name": "adamw", "weight_decay": 0.04, "final_weight_decay": 0.4}
    decays = rates(settings, 10, 10, "weight_decay")
    assert decays == pytest.approx([
        0.04, 0.0488098, 0.0743769, 0.1141987, 0.1643769, 0.22, 0.2756231, 0.3258013, 0.3656231,
        0.3911902,
    ], abs=1e-6)  # fmt: skip
    optimizer = built(settings)
    optimizer.step()
    assert [g["weight_decay"] for g in optimizer.param_groups] == pytest.approx([0.04, 0.0])


def test_weight_decay_of_a_resumed_run_goes_on() -> None:
    settings = {"name": "adamw", "weight_decay": 0.04, "final_weight_decay": 0.4}
    straight = rates(settings, 10, 6, "weight_decay")
    first, second = built(settings), built(settings)
    for _ in range(5):
        first.step()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.step()
    assert second.param_groups[0]["weight_decay"] == straight[5]


def test_weight_decay_moves_in_runs_of_known_length_alone() -> None:
    with pytest.raises(ValueError, match="final_weight_decay requires trainer"):
        built({"name": "adamw", "final_weight_decay": 0.4}, float("inf"))
