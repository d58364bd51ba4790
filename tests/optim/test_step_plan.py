"""Steps of epochs, where a continued run's epochs have others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from genlab import optim
from genlab.optim import StepPlan


def trainer(plan: StepPlan, batches: int, epochs: int, **more: int) -> Any:
    steps = min(batches * epochs, more.get("max_steps", 10**9))
    return SimpleNamespace(
        callbacks=[plan], estimated_stepping_batches=steps, num_training_batches=batches,
        max_epochs=epochs, **{"accumulate_grad_batches": 1, "max_steps": -1} | more
    )  # fmt: skip


def continued(plan: StepPlan, step: int) -> StepPlan:
    """The plan of a run that goes on from a checkpoint of ``step`` steps."""
    found: Any = StepPlan()
    found.on_load_checkpoint(None, None, {"global_step": step})
    found.load_state_dict(plan.state_dict())
    return found


def total(place: Any, batches_per_step: int = 1) -> float:
    module: Any = SimpleNamespace(trainer=place, batches_per_step=batches_per_step)
    return optim.total_steps(module)


def test_steps_done_and_those_of_the_epochs_left() -> None:
    plan = StepPlan()
    assert total(trainer(plan, 20, 10)) == 200
    plan = continued(plan, 60)
    assert total(trainer(plan, 20, 10)) == 200
    assert not plan.changed
    assert total(trainer(plan, 10, 10)) == 60 + 7 * 10
    assert total(trainer(plan, 10, 10)) == 60 + 7 * 10
    plan = continued(plan, 90)  # three epochs later
    assert total(trainer(plan, 40, 10, accumulate_grad_batches=8)) == 60 + 3 * 10 + 4 * 5
    assert [plan.step_at(epoch) for epoch in (1, 3, 4.5, 6, 7)] == [20, 60, 75, 90, 95]
    assert total(trainer(plan, 5, 10, max_steps=100)) == 100


def test_the_steps_of_a_gan_take_several_batches() -> None:
    plan = StepPlan()
    assert total(trainer(plan, 21, 5), 2) == 52
    plan = continued(plan, 21)
    assert total(trainer(plan, 21, 5), 4) == pytest.approx(21 + 3 * 21 / 4, abs=1)


def test_an_endless_run_has_no_plan() -> None:
    plan = StepPlan()
    endless = trainer(plan, 20, -1)
    endless.estimated_stepping_batches = endless.num_training_batches = float("inf")
    assert total(endless) == float("inf")
    assert plan.pace == 0
