"""SwAV: what is target, what the queue does, when prototypes move. The laws are in tests/laws."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import losses
from genlab.callbacks import CollapseAlarm
from genlab.contracts import Batch
from genlab.data import Digits
from genlab.methods.swav import SwAV
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.conftest import TwoRanks
from tests.methods.programs_ssl import VIT
from tests.methods.programs_swav import small

SMALL: dict[str, Any] = {"preset": "multicrop", "small": {"size": 0.5, "count": 2}}
VIEWS: dict[str, Any] = {
    "preset": "simclr", "flip": False, "crop": [0.4, 1.0], "jitter": [0.4, 0.4, 0, 0], "grey": 0,
    "blur": 0,
}  # fmt: skip


def views(*sides: int, n: int = 8, seed: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    made = [torch.rand(n, 1, side, side, generator=generator) for side in sides]
    return cast(Batch, {"views": made})


def scores_of(method: SwAV, batch: Batch) -> list[Tensor]:
    prototypes = method.prototypes.weight
    return [losses.prototype_scores(method.embed(view), prototypes) for view in batch["views"]]


def test_codes_of_large_views_are_the_targets_of_all_others() -> None:
    method, batch = small(projector_norm=None).eval(), views(8, 4, 8, 4)
    found = method.training_step(batch, 0)
    scores = scores_of(method, batch)
    codes = {i: losses.sinkhorn(scores[i]) for i in (0, 2)}  # small views never give codes
    torch.testing.assert_close(found["loss"], losses.swapped_prediction(scores, codes))
    assert 1 <= float(found["prototypes_used"]) <= 5


def test_each_size_is_one_batch_for_the_encoder_and_all_are_one_for_the_projector() -> None:
    """SW7."""
    method = small()
    method.training_step(views(8, 8, 4, 4, 4), 0)
    norms = {n: int(b) for n, b in method.named_buffers() if n.endswith("num_batches_tracked")}
    assert {count for name, count in norms.items() if name.startswith("encoder")} == {2}
    assert {count for name, count in norms.items() if name.startswith("projector")} == {1}


def test_prototypes_are_unit_vectors_without_bias_after_every_step() -> None:
    """SW6."""
    method = small()
    assert [name for name, _ in method.prototypes.named_parameters()] == ["weight"]
    optimizer = torch.optim.SGD(method.parameters(), 0.5)
    before = method.prototypes.weight.detach().clone()
    method.training_step(views(8, 8), 0)["loss"].backward()
    optimizer.step()
    method.after_step()
    after = method.prototypes.weight.detach()
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after.norm(dim=1), torch.ones(5))


def test_uniform_codes_and_predictions_cost_what_the_alarm_is_told() -> None:
    method = small(projector_norm=None)
    for parameter in method.projector[-1].parameters():
        torch.nn.init.zeros_(parameter)
    found = float(method.training_step(views(8, 8), 0)["loss"].detach())
    assert found == pytest.approx(method.collapsed_loss(8), abs=1e-6)


def step(method: SwAV, batch: Batch) -> Tensor:
    """Loss of a step that moves the queues and nothing else."""
    with torch.no_grad():
        loss = method.training_step(batch, 0)["loss"]
        method.after_step()
    return loss


def test_a_queue_serves_once_it_is_full_with_todays_prototypes() -> None:
    """SW2, SW3."""
    method = small(VIT, projector_norm=None, queue_size=16)
    plain = small(VIT, projector_norm=None)
    batches = [views(8, 8, seed=s) for s in range(3)]
    for batch in batches[:2]:  # 0 and 8 of 16
        torch.testing.assert_close(step(method, batch), step(plain, batch), rtol=0, atol=0)
    with torch.no_grad():
        for one in (method, plain):
            one.prototypes.weight.copy_(F.normalize(one.prototypes.weight.roll(1, 1) + 0.3, dim=1))
        found, without = step(method, batches[2]), step(plain, batches[2])
        scores = scores_of(method, batches[2])
        codes = {}
        for i in (0, 1):
            earlier = torch.cat([scores_of(method, batch)[i] for batch in batches[:2]])
            codes[i] = losses.sinkhorn(torch.cat([earlier, scores[i]]))[-8:]
    torch.testing.assert_close(found, losses.swapped_prediction(scores, codes))
    assert abs(float(found - without)) > 1e-4
    assert int(method.queued) == 24


def test_embeddings_of_a_step_enter_together_and_validation_moves_nothing() -> None:
    method = small(queue_size=32)
    for k in range(2):
        method.training_step(views(8, 8, seed=k), k)
    assert int(method.queued) == 0
    before = copy.deepcopy(method.state_dict())
    method.eval().validation_step(cast(Batch, {"image": torch.rand(4, 1, 8, 8)}), 0)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    method.after_step()
    assert int(method.queued) == 16
    method.training_step(views(8, 8), 0)
    method.on_step_skipped()
    method.after_step()
    assert int(method.queued) == 16


def fitted(folder: Path, steps: int, **options: Any) -> SwAV:
    method = small(optimizer={"name": "adamw", "lr": 1e-2, "weight_decay": 0.5}, **options)
    data = Digits(batch_size=32, limit=128, val_size=100, seed=3, views="simclr")
    run = trainer(folder, Reseed(), max_steps=steps, max_epochs=-1, limit_val_batches=0)
    run.fit(method, datamodule=data)
    return method


def test_frozen_prototypes_stay_to_the_bit_without_momentum_or_decay(tmp_path: Path) -> None:
    """SW4: with a gradient of zero AdamW would still decay them."""
    start = small().prototypes.weight
    method = fitted(tmp_path, 3, freeze_steps=3)
    assert torch.equal(method.prototypes.weight, start)
    state = method.trainer.optimizers[0].state
    assert method.prototypes.weight not in state
    assert method.encoder.backbone.state_dict() != {}
    assert next(method.projector.parameters()) in state
    moved = fitted(tmp_path / "longer", 4, freeze_steps=3)
    assert not torch.equal(moved.prototypes.weight, start)


def test_the_queue_is_filled_from_its_epoch_on(tmp_path: Path) -> None:
    """Epochs of four steps of 32 images."""
    assert int(fitted(tmp_path, 6, queue_size=64, queue_from_epoch=1).queued) == 64


@pytest.mark.ddp
def test_two_ranks_with_a_queue_are_one_process(two_ranks: TwoRanks) -> None:
    """The queue's 13 rows are dealt out, seven and six."""
    two_ranks.assert_same("tests.methods.programs_swav:queued", atol=1e-9)


def test_everything_that_training_moves_is_in_the_state() -> None:
    names = small(queue_size=8).state_dict()
    expected = {"queued", "prototypes.weight"}
    expected |= {f"queues.{k}.{part}" for k in (0, 1) for part in ("keys", "pointer")}
    assert expected <= set(names)


def test_views_and_batches_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    run, data = trainer(tmp_path), Digits(batch_size=32, limit=64, val_size=100, views=SMALL)
    with pytest.raises(ValueError, match=r"4 px: .*dynamic_img_size: true"):
        run.fit(small(VIT), datamodule=data)
    with pytest.raises(ValueError, match="queue_size 8 is less than the 32 keys of a step"):
        trainer(tmp_path / "queue").fit(small(queue_size=8), datamodule=data)
    with pytest.raises(ValueError, match=r"requires 2 large views, data\.views gives 3"):
        small(queue_size=8).training_step(views(8, 8, 8), 0)
    with pytest.raises(ValueError, match="views of 3 px are not at least 4 px"):
        small().training_step(views(8, 8, 3), 0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prototypes": 1}, "prototypes 1 must be at least 2"),
        ({"freeze_steps": -1}, "freeze_steps -1 must be at least 0"),
        ({"sinkhorn_iterations": 0}, "sinkhorn_iterations 0 must be at least 1"),
        ({"temperature": 0}, "temperature 0 must be above 0"),
        ({"sinkhorn_temperature": 0}, "sinkhorn_temperature 0 must be above 0"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**wrong)


@pytest.mark.slow
def test_uniform_assignments_collapse_and_the_alarm_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"projector_dims": [64, 32], "prototypes": 30}
    options["encoder_kwargs"] = {"width": 16}
    for epsilon, rings in ((0.05, False), (100.0, True)):
        method = small(sinkhorn_temperature=epsilon, **options, optimizer={"lr": 2e-3})
        data = Digits(batch_size=64, val_size=300, seed=0, views=VIEWS)
        alarm = CollapseAlarm()
        run = trainer(tmp_path / str(epsilon), Reseed(), alarm, max_epochs=15)
        run.fit(method, datamodule=data)
        assert ("collapse into few directions" in capsys.readouterr().err) == rings
