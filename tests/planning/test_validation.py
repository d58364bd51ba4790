"""Memory of validation: a batch of its own size, without gradient, and what training keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from genlab import recipes
from genlab.planning.capacity import need
from genlab.planning.counting import Counting
from genlab.planning.fake import fake_step
from genlab.planning.step import VALIDATION
from tests.planning.real import real_step

SMALL = "model.encoder=small_cnn"


@pytest.mark.parametrize(
    "words",
    [
        ("classifier/digits", SMALL),
        pytest.param(("fixmatch/digits", SMALL), marks=pytest.mark.slow),
    ],
)
def test_a_plan_agrees_with_a_real_validation(words: tuple[str, ...]) -> None:
    recipe = recipes.resolve([words[0]], [*words[1:], "data.batch_size=8"])
    plan, real = fake_step(recipe), real_step(recipe)
    assert plan.peaks[VALIDATION] == pytest.approx(real.peaks[VALIDATION], rel=0.03)
    small = plan.peaks[VALIDATION] < plan.peak
    assert need(plan).moment == ("step" if small else VALIDATION)
    assert not plan.reads
    assert not plan.notes


def test_its_batch_is_divided_and_its_size_is_a_setting() -> None:
    words = "data.batch_size=64", "data.val_size=100"
    recipe = recipes.resolve(["vae/digits"], [*words, "data.eval_batch_size=50"])
    eight, one = fake_step(recipe, 8), fake_step(recipe)
    row = 64 + 2 * 8  # a digit; label and position
    last = 64 * 2 * 8  # of training: label and position
    assert one.moments[VALIDATION]["batch"] == 50 * (row + 4 * 64) + last  # and as numbers
    assert eight.moments[VALIDATION]["batch"] == 7 * (row + 4 * 64) + last / 8
    buckets = eight.memory["gradient buckets"]
    assert eight.moments[VALIDATION]["gradient buckets"] == buckets == eight.memory["gradients"]
    without = recipes.resolve(["vae/digits"], [*words, "trainer.limit_val_batches=0"])
    assert VALIDATION not in fake_step(without).peaks


def test_gradients_that_lie_in_buckets_are_counted_once() -> None:
    recipe = recipes.resolve(["vae/digits"])
    plain = fake_step(recipe, 2)
    recipe.config["trainer"]["strategy"] = {
        "class_path": "lightning.pytorch.strategies.DDPStrategy",
        "init_args": {"gradient_as_bucket_view": True},
    }
    views = fake_step(recipe, 2)
    assert plain.peak - views.peak == plain.memory["gradients"]
    kept = views.moments[VALIDATION]["gradient buckets"]  # they stay where gradients go
    assert kept == plain.moments[VALIDATION]["gradient buckets"]


def test_what_values_select_is_all_in_validation() -> None:
    with FakeTensorMode(), Counting() as count:
        count.validating = True
        x, mask = torch.empty(3, 4), torch.empty(3, dtype=torch.bool)
        assert x[mask].shape == (3, 4)
        assert x[mask, 1:].shape == (3, 3)
        assert x[x > 0].shape == (12,)
        assert torch.nonzero(x).shape == (12, 2)
        assert x.masked_select(x > 0).shape == (12,)
        assert torch.bincount(torch.empty(5, dtype=torch.int64), minlength=7).shape == (7,)


def test_a_validation_that_cannot_be_counted_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from genlab.methods import VAE

    def broken(self: Any, batch: Any, batch_idx: int) -> Any:
        return torch.unique(batch["label"])

    monkeypatch.setattr(VAE, "validation_step", broken)
    step = fake_step(recipes.resolve(["vae/digits"]))
    (note,) = step.notes
    assert note.startswith("validation is not counted: ")
    assert step.peak > 0
