"""DINO: teacher, centre, schedules and frozen prototypes. The laws are in tests/laws."""

from __future__ import annotations

import copy
import itertools
import math
from pathlib import Path
from typing import Any, cast

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback

from genlab import losses
from genlab.callbacks import CollapseAlarm
from genlab.contracts import Batch
from genlab.data import Digits
from genlab.methods.dino import DINO
from genlab.networks import encoder
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN, VIT, pairs, same_state

VIEWS: dict[str, Any] = {
    "preset": "dino", "flip": False, "grey": 0.0, "blur": 0.0,
    "small": {"count": 2, "size": 4, "crop": [0.3, 0.5]},
}  # fmt: skip
SGD = {"name": "torch.sgd", "lr": 0.5, "momentum": 0.9}
HEAD: dict[str, Any] = {"projector_dims": [12, 6], "prototypes": 20}


def small(network: dict[str, Any] = CNN, **options: Any) -> Any:
    torch.manual_seed(1)
    return DINO(**network | HEAD | options)


def many_views(n: int = 8) -> Batch:
    """Two large views with two small ones between them."""
    torch.manual_seed(3)
    sides = (8, 4, 8, 4)
    return cast(Batch, {"views": [torch.rand(n, 1, side, side) for side in sides]})


def trained(folder: Path, method: Any, *callbacks: L.Callback, **options: Any) -> Any:
    data = Digits(batch_size=32, limit=160, val_size=100, seed=3, views=VIEWS)
    run = trainer(folder, Reseed(), *callbacks, **{"limit_val_batches": 0} | options)
    run.fit(method, datamodule=data)
    return method


def test_the_loss_pairs_each_large_view_with_all_others() -> None:
    """DI8."""
    method, batch = small().eval(), many_views()
    found = method.training_step(batch, 0)["loss"]
    scores = [method.prototypes(method.embed(view)) for view in batch["views"]]
    targets = {
        i: losses.centred_target(method.teach(batch["views"][i]), method.centre, 0.04)
        for i in (0, 2)
    }
    terms = [
        -(targets[i] * (scores[v] / 0.1).log_softmax(1)).sum(1).mean()
        for i, v in ((0, 1), (0, 2), (0, 3), (2, 0), (2, 1), (2, 3))
    ]
    torch.testing.assert_close(found, torch.stack(terms).mean())


def test_batch_norm_sees_all_views_of_a_size_together() -> None:
    method = small()
    method.training_step(many_views(), 0)
    assert int(method.encoder.state_dict()["backbone.1.num_batches_tracked"]) == 2
    assert int(method.encoder_ema.state_dict()["backbone.1.num_batches_tracked"]) == 1


def test_the_teacher_begins_as_the_student_and_has_no_noise() -> None:
    kwargs = VIT["encoder_kwargs"] | {"depth": 3, "drop_path_rate": 0.5}
    method = small(VIT | {"encoder_kwargs": kwargs}).train()
    image = torch.rand(16, 1, 8, 8)
    assert not torch.equal(method.embed(image), method.embed(image))
    assert torch.equal(method.teach(image), method.teach(image))
    own = method.eval().prototypes(method.embed(image))
    assert torch.equal(method.teach(image), own)


def test_scores_stay_cosines_while_the_gain_is_fixed() -> None:
    """DI4."""
    method = small(optimizer=SGD)
    optimizer = method.configure_optimizers()
    for _ in range(100):
        optimizer.zero_grad()
        method.training_step(cast(Batch, pairs(8)[0]), 0)["loss"].backward()
        optimizer.step()
    image = pairs(8)[0]["views"][0]
    scores = method.prototypes(method.embed(image)).detach()
    assert float(scores.abs().max()) <= 1 + 1e-6
    assert torch.equal(method.prototypes.weight_g, torch.ones(20, 1))


def test_the_first_loss_is_near_log_k() -> None:
    """DI10."""
    method = small(projector_dims=[64, 256], prototypes=4096)
    first = float(method.training_step(cast(Batch, pairs(8)[0]), 0)["loss"].detach())
    assert math.log(4096) - 1.2 < first < math.log(4096)


def test_frozen_prototypes_stay_bit_for_bit_and_have_no_momentum(tmp_path: Path) -> None:
    """DI6."""
    method = small(optimizer={"name": "adamw", "lr": 0.01, "weight_decay": 0.5}, freeze_steps=3)
    before, seen = method.prototypes.weight_v.detach().clone(), list[bool]()
    note = LambdaCallback(
        on_train_batch_end=lambda *_: seen.append(torch.equal(method.prototypes.weight_v, before))
    )
    trained(tmp_path, method, note, max_epochs=1)
    assert seen == [True, True, True, False, False]
    state = method.trainer.optimizers[0].state
    assert int(state[method.prototypes.weight_v]["step"]) == 2
    assert int(state[method.projector[0].weight]["step"]) == 5


def test_momentum_of_ten_steps_as_in_the_reference() -> None:
    """DI7."""
    method = small(ema_decay=0.996)
    expected = [
        0.996, 0.9960979, 0.9963820, 0.9968244, 0.9973820, 0.998, 0.9986180, 0.9991756, 0.9996180,
        0.9999021,
    ]  # fmt: skip
    for step, decay in enumerate(expected):
        torch.nn.init.zeros_(method.projector_ema[0].weight)
        torch.nn.init.ones_(method.projector[0].weight)
        method.pending.put(0, torch.zeros(1, 21))
        method.after_step(step, 10)
        moved = float(method.projector_ema[0].weight[0, 0])
        assert 1 - moved == pytest.approx(decay, abs=1e-6)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_centre_and_teacher_move_once_a_step(accumulate: int, tmp_path: Path) -> None:
    method = small(optimizer=SGD | {"lr": 0.0}, ema_decay=0.5)
    centres = [method.centre.clone()]
    note = LambdaCallback(on_train_batch_end=lambda *_: centres.append(method.centre.clone()))
    trained(tmp_path, method, note, max_epochs=1, accumulate_grad_batches=accumulate)
    moved = sum(not torch.equal(a, b) for a, b in itertools.pairwise(centres))
    assert moved == 5


def test_a_checkpoint_holds_the_centre_of_all_batches_before_it(tmp_path: Path) -> None:
    """DI3: moved at the next batch, as in dinov2, the last batch's share would be lost."""
    centres, taught = list[torch.Tensor](), list[torch.Tensor]()
    folders = [tmp_path / name for name in ("straight", "resumed")]
    for folder, start in zip(folders, (None, folders[0] / "checkpoints/step-00000003.ckpt"),
                             strict=True):  # fmt: skip
        method = small(optimizer=SGD, ema_decay=0.5)
        teach = method.teach

        def watched(image: torch.Tensor, teach: Any = teach) -> torch.Tensor:
            taught.append(teach(image))
            return taught[-1]

        method.teach = watched
        data = Digits(batch_size=32, limit=160, val_size=100, seed=3, views=VIEWS)
        keep = Checkpoints(None, keep_every_n_steps=1)
        run = trainer(folder, Reseed(), keep, limit_val_batches=0, max_epochs=1)
        run.fit(method, datamodule=data, ckpt_path=start, weights_only=True if start else None)
        centres.append(method.centre)
    assert torch.equal(*centres)
    assert len(taught) == 5 + 2
    expected = torch.zeros(20)
    for step, scores in enumerate(taught[:5], 1):
        expected = 0.9 * expected + 0.1 * scores.mean(0)
        file = folders[0] / f"checkpoints/step-{step:08}.ckpt"
        saved = torch.load(file, weights_only=True)["state_dict"]["centre"]
        torch.testing.assert_close(saved, expected)


def test_a_step_given_up_leaves_nothing_for_the_next() -> None:
    method = small()
    method.training_step(cast(Batch, pairs(8)[0]), 0)
    method.on_step_skipped()
    assert not method.pending


def test_the_temperature_warms_up_under_the_trainer(tmp_path: Path) -> None:
    """DI9."""
    method, found = small(optimizer=SGD, warmup_temperature=0.04, teacher_temperature=0.07,
                          temperature_epochs=5), list[float]()  # fmt: skip
    note = LambdaCallback(on_train_epoch_start=lambda *_: found.append(method.temperature_now()))
    trained(tmp_path, method, note, max_epochs=6, limit_train_batches=1)
    assert found == pytest.approx([0.04, 0.0475, 0.055, 0.0625, 0.07, 0.07])


def test_accumulated_parts_have_the_gradient_and_the_centre_of_the_whole() -> None:
    """The loss is a mean over images, with a centre that stands still within a step."""
    batch = many_views()
    parts = [cast(Batch, {"views": [view[k::4] for view in batch["views"]]}) for k in range(4)]
    states = []
    dynamic = VIT | {"encoder_kwargs": VIT["encoder_kwargs"] | {"dynamic_img_size": True}}
    for given in ([batch], parts):
        method = small(dynamic).double()
        for k, one in enumerate(given):
            views = cast(Batch, {"views": [view.double() for view in one["views"]]})
            (method.training_step(views, k)["loss"] / len(given)).backward()
        method.after_step(0, 10)
        states.append([p.grad for p in method.parameters() if p.grad is not None])
        states[-1].append(method.centre)
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=1e-8)  # timm resamples in float32
    assert states[0][-1].norm() > 0


def test_the_alarm_knows_the_loss_of_uniform_distributions() -> None:
    method = small()
    torch.nn.init.zeros_(method.projector[-1].weight)
    torch.nn.init.zeros_(method.projector_ema[-1].weight)
    out = method.training_step(many_views(), 0)
    assert float(out["loss"].detach()) == pytest.approx(method.collapsed_loss(8), rel=1e-5)
    assert float(out["divergence"]) == pytest.approx(0, abs=1e-5)


def test_validation_moves_nothing() -> None:
    method = small().eval()
    before = copy.deepcopy(method.state_dict())
    method.validation_step(cast(Batch, {"image": torch.rand(4, 1, 8, 8)}), 0)
    assert not same_state(before, method.state_dict())
    assert not method.pending


def test_features_are_the_students_or_the_teachers(tmp_path: Path) -> None:
    student, teacher = small().eval(), small(teacher_features=True).eval()
    image = torch.rand(4, 1, 8, 8)
    for method in (student, teacher):
        torch.nn.init.zeros_(method.encoder_ema.backbone[0].weight)
    assert torch.equal(student(image), student.encoder(image))
    assert torch.equal(teacher(image), teacher.encoder_ema(image))
    assert not torch.equal(student(image), teacher(image))
    found = teacher.validation_step(cast(Batch, {"image": image}), 0)
    assert torch.equal(found["feature"], teacher(image))


def test_the_next_recipe_loads_the_student_or_the_teacher(tmp_path: Path) -> None:
    method = trained(tmp_path, small(optimizer=SGD), max_epochs=1)
    method.trainer.save_checkpoint(tmp_path / "last.ckpt")
    for take, source in (("online", method.encoder), ("ema", method.encoder_ema)):
        loaded = encoder("small_cnn", 1, 8, str(tmp_path / "last.ckpt"), {"take": take}, width=4)
        assert not same_state(loaded.backbone.state_dict(), source.backbone.state_dict())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ema_decay": 1.1}, r"ema_decay 1.1 must be in \[0, 1\]"),
        ({"centre_decay": -1}, "centre_decay -1 must be in"),
        ({"temperature": 0}, "temperature 0 must be above 0"),
        ({"teacher_temperature": 0}, "teacher_temperature 0 must be above 0"),
        ({"warmup_temperature": 0}, "warmup_temperature 0 must be above 0"),
        ({"freeze_steps": -1}, "freeze_steps -1 must be at least 0"),
        ({"prototypes": 1}, "prototypes 1 must be at least 2"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**wrong)


def test_a_vit_of_one_size_refuses_small_views_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dynamic_img_size: true"):
        trained(tmp_path, small(VIT, optimizer=SGD), max_epochs=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "loss"),
    [
        ({"teacher_temperature": 1.0}, math.log(256)),
        ({"teacher_temperature": 0.01, "centre_decay": 1.0}, 0.0),
    ],
    ids=["uniform", "single"],
)
def test_either_collapse_trips_the_alarm_within_200_steps(
    broken: dict[str, Any], loss: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DI10: without a low temperature, or without a centre; the divergence is then 0."""
    method = small(
        projector_dims=[128, 64], prototypes=256, encoder_kwargs={"width": 32}, ema_decay=0.9,
        optimizer={"name": "adamw", "lr": 2e-3, "warmup_steps": 20}, **broken,
    )  # fmt: skip
    plain = {"preset": "simclr", "flip": False, "jitter": [0.4, 0.4, 0, 0], "grey": 0, "blur": 0}
    data = Digits(batch_size=128, val_size=200, seed=3, views=plain | {"crop": [0.4, 1.0]})
    alarm, last = CollapseAlarm(), dict[str, float]()
    note = LambdaCallback(
        on_train_batch_end=lambda t, m, out, *_: last.update({k: float(v) for k, v in out.items()})
    )
    run = trainer(tmp_path, Reseed(), alarm, note, max_steps=200, max_epochs=-1)
    run.fit(method, datamodule=data)
    assert alarm.collapsed
    assert last["loss"] == pytest.approx(loss, abs=0.02)
    assert last["divergence"] == pytest.approx(0, abs=0.02)
    assert last["teacher_entropy"] == pytest.approx(loss, abs=0.02)
    assert "collapse into few directions" in capsys.readouterr().err
