"""MoCo's other negatives: the memory bank, moved by the optimiser's step, and the batch's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from genlab import losses
from genlab.data import Digits
from genlab.methods.moco import MoCo
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.conftest import TwoRanks
from tests.methods.programs_ssl import VIT, pairs, same_state, small

ONE: dict[str, Any] = {"negatives": "bank", "temperature": 0.1}


def seen(n: int = 8) -> dict[str, Any]:
    """A batch of one view whose images stand at every second place."""
    return {"views": pairs(n)[0]["views"][:1], "index": 2 * torch.arange(n)}


def banked(**options: Any) -> Any:
    method = small("moco", VIT, **ONE | options)
    method.bank.fit_to(np.arange(20))
    return method


def test_the_bank_is_moved_by_the_step_and_by_nothing_else() -> None:
    """WB2."""
    method, batch = banked(), seen()
    before = method.bank.rows.clone()
    out = method.training_step(batch, 0)
    z = method.embed(batch["views"][0])
    torch.testing.assert_close(
        out["loss"], losses.instance_nll(z, before, torch.arange(0, 16, 2), 0.1)
    )
    out["loss"].backward()
    method.eval().validation_step({"image": batch["views"][0]}, 0)
    assert torch.equal(method.bank.rows, before)
    method.after_step()
    expected = F.normalize(0.5 * before[:16:2] + 0.5 * F.normalize(z, dim=1), dim=1)
    torch.testing.assert_close(method.bank.rows[:16:2], expected)
    assert torch.equal(method.bank.rows[1:16:2], before[1:16:2])
    moved = method.bank.rows.clone()
    method.training_step(batch, 0)
    method.on_step_skipped()
    assert not method.pending
    assert torch.equal(method.bank.rows, moved)


def test_the_batchs_keys_have_a_gradient_and_no_momentum_encoder() -> None:
    method = small("moco", VIT, negatives="batch", symmetric=True)
    view1, view2 = pairs(8)[0]["views"]
    q, k = method.embed(view1), method.embed(view2)
    expected = losses.batch_nce(q, k, 0.2) + losses.batch_nce(k, q, 0.2)
    found = method.training_step({"views": [view1, view2]}, 0)["loss"]
    torch.testing.assert_close(found, expected)
    assert not any("_ema" in name or "queue" in name for name in method.state_dict())


def fitted(folder: Path, steps: int, parts: int, start: Path | None = None) -> MoCo:
    method: MoCo = small("moco", **ONE, optimizer={"name": "adamw", "lr": 1e-2})
    data = Digits(batch_size=32, limit=128, val_size=100, seed=3, views="wu")
    callbacks = [Reseed(), Checkpoints(None, keep_every_n_steps=1)]
    options = {"max_steps": steps, "accumulate_grad_batches": parts, "limit_val_batches": 0}
    run = trainer(folder, *callbacks, max_epochs=-1, **options)
    run.fit(method, datamodule=data, ckpt_path=start, weights_only=True if start else None)
    return method


def test_a_resumed_bank_goes_on_to_the_bit(tmp_path: Path) -> None:
    """In mid-epoch, with two batches to a step."""
    straight = fitted(tmp_path / "straight", 6, 2)
    assert straight.bank.rows.shape == (128, 6)
    saved = tmp_path / "straight/checkpoints/step-00000005.ckpt"
    resumed = fitted(tmp_path / "resumed", 6, 2, saved)
    assert same_state(straight.state_dict(), resumed.state_dict()) == []


@pytest.mark.ddp
def test_two_ranks_are_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.methods.programs_moco_negatives:stepped", atol=1e-9)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"negatives": "memory"}, "memory"),
        ({"negatives": "bank", "symmetric": True}, "symmetric cannot be combined"),
        ({"bank_momentum": 1.0}, r"bank_momentum must be in \[0, 1\)"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small("moco", **wrong)


def test_the_bank_compares_one_view() -> None:
    with pytest.raises(ValueError, match=r"compares 1 view of an image, data\.views gives 2"):
        banked().training_step(pairs(8)[0], 0)
