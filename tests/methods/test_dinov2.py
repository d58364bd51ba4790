"""iBOT and DINOv2: masks, heads, targets and what is frozen. The laws are in tests/laws."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback

from genlab import losses
from genlab.contracts import Batch
from genlab.data import Digits
from genlab.methods.dinov2 import DINOv2
from genlab.networks.positions import sine_positions
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import CNN, VIT, pairs, same_state

KWARGS: dict[str, Any] = VIT["encoder_kwargs"] | {"patch_size": 2, "dynamic_img_size": True}
NETWORK: dict[str, Any] = VIT | {"encoder_kwargs": KWARGS}  # 4 x 4 patches
HEAD: dict[str, Any] = {"projector_dims": [12, 6], "prototypes": 20}
IBOT: dict[str, Any] = {"shared_head": True, "koleo_weight": 0.0, "targets": "centring"}
SGD = {"name": "torch.sgd", "lr": 0.5, "momentum": 0.9}
VIEWS: dict[str, Any] = {
    "preset": "dinov2", "flip": False, "grey": 0.0, "blur": 0.0,
    "small": {"count": 2, "size": 4, "crop": [0.3, 0.5]},
}  # fmt: skip


def small(**options: Any) -> Any:
    torch.manual_seed(1)
    return DINOv2(**NETWORK | HEAD | options)


def views(n: int = 8) -> Batch:
    return cast(Batch, pairs(n)[0] | {"seed": 3})


def trained(folder: Path, method: Any, *callbacks: Any, **options: Any) -> Any:
    data = Digits(batch_size=32, limit=160, val_size=100, seed=3, views=VIEWS)
    run = trainer(folder, Reseed(), *callbacks, **{"limit_val_batches": 0} | options)
    run.fit(method, datamodule=data)
    return method


def test_half_of_each_large_views_images_have_a_mask() -> None:
    method, batch = small(), views(8)
    masked, where = method.masks(batch["views"], batch)
    assert masked.shape == (16, 16)
    assert [int((part.sum(1) > 0).sum()) for part in masked.chunk(2)] == [4, 4]
    assert not torch.equal(*masked.chunk(2))
    total = int(masked.sum())
    assert masked.flatten()[where][:total].all()
    assert not masked.flatten()[where][total:].any()
    again, _ = method.masks(batch["views"], batch)
    assert torch.equal(masked, again)
    other, _ = method.masks(batch["views"], batch | {"seed": 4})
    assert not torch.equal(masked, other)


def test_the_student_sees_no_masked_pixel_and_the_teacher_all() -> None:
    method, batch = small(), views(8)
    image = batch["views"][0].requires_grad_()
    masked, where = method.masks([image], batch)
    seen = method.encoder.tokens(image, masked=masked, mask_token=method.mask_token)
    (gradient,) = torch.autograd.grad(seen.patches.square().sum(), image)
    hidden = masked.unflatten(1, (4, 4)).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert not gradient[:, 0][hidden].any()
    assert gradient[:, 0][~hidden].all()
    _, known = method.teach(image.detach(), where, masked.flatten()[where])
    every = method.heads_ema[1](method.encoder_ema.tokens(image.detach()).patches)
    torch.testing.assert_close(known, every.flatten(0, 1)[where])


def test_the_loss_is_the_sum_of_its_parts() -> None:
    method = small(patch_weight=2.0, koleo_weight=0.5)
    out = method.training_step(views(), 0)
    total = out["loss_image"] + 2 * out["loss_patch"] + 0.5 * out["loss_koleo"]
    torch.testing.assert_close(out["loss"].detach(), total)
    assert "loss_koleo" not in small(**IBOT).training_step(views(), 0)


def test_every_large_view_adds_its_spread_as_in_the_reference() -> None:
    method, batch = small(mask_chance=0.0), views()
    found = method.training_step(batch, 0)["loss_koleo"]
    each = [losses.koleo(method.encoder(view)) for view in batch["views"][:2]]
    torch.testing.assert_close(found, each[0] + each[1])


@pytest.mark.parametrize("norm", [None, "batch"])
def test_patches_beside_the_masked_ones_change_nothing(norm: str | None) -> None:
    """The tensor of patches has room to spare: what fills it has no part in loss or centre."""
    method, batch = small(**IBOT, projector_norm=norm), views()
    masked, where = method.masks(batch["views"], batch)
    assert masked.sum() < len(where)
    image = torch.cat(batch["views"])
    _, hidden = method.teach(image, where, masked.flatten()[where])
    plain = hidden[: int(masked.sum())]
    out = method.training_step(batch, 0)
    total = method.pending.take()[1][0]
    torch.testing.assert_close(total[:-1], plain.sum(0))
    seen = method.encoder.tokens(image, masked=masked, mask_token=method.mask_token)
    scores = method.heads[0](seen.patches[masked])
    ordered = method.heads_ema[0](method.encoder_ema.tokens(image).patches[masked])
    targets = losses.centred_target(ordered, method.patch_centre, 0.07)
    weights = losses.patch_weights(masked)[masked]
    found = losses.masked_distillation(scores, targets, weights, 0.1)
    torch.testing.assert_close(out["loss_patch"], found.detach())


def test_a_resumed_run_goes_on_with_the_images_and_masks_of_the_straight_one(
    tmp_path: Path,
) -> None:
    """IB9: the reference begins its data anew."""
    seen, ends = list[list[tuple[torch.Tensor, torch.Tensor]]](), list[dict[str, Any]]()
    start = tmp_path / "straight/checkpoints/step-00000003.ckpt"  # in mid-epoch
    for folder, saved in (("straight", None), ("resumed", start)):
        method, own = small(optimizer=SGD), list[tuple[torch.Tensor, torch.Tensor]]()
        masks = method.masks

        def watched(wide: Any, batch: Batch, masks: Any = masks, own: Any = own) -> Any:
            found = masks(wide, batch)
            own.append((batch["index"], found[0]))
            return found

        method.masks = watched
        data = Digits(batch_size=32, limit=160, val_size=100, seed=3, views=VIEWS)
        keep = Checkpoints(None, keep_every_n_steps=1)
        run = trainer(tmp_path / folder, Reseed(), keep, limit_val_batches=0, max_epochs=2)
        run.fit(method, datamodule=data, ckpt_path=saved, weights_only=True if saved else None)
        seen.append(own)
        ends.append(dict(method.state_dict()))
    straight, resumed = seen
    assert (len(straight), len(resumed)) == (10, 7)
    for (index, masked), (same, other) in zip(straight[3:], resumed, strict=True):
        assert torch.equal(index, same)
        assert torch.equal(masked, other)
    assert not torch.equal(straight[0][0], straight[5][0])
    assert same_state(*ends) == []


def test_sinkhorn_counts_masked_patches_alone() -> None:
    method, scores = small(), torch.randn(10, 20)
    counted = torch.arange(10) < 6
    found = method.targets(scores, method.patch_centre, counted)[:6]
    torch.testing.assert_close(found, method.targets(scores[:6], method.patch_centre))


def test_ibot_has_one_head_and_one_optimiser_entry_for_it() -> None:
    shared, own = small(**IBOT), small(patch_prototypes=7)
    assert [len(method.heads) for method in (shared, own)] == [1, 2]
    assert own.patch_centre.shape == (7,)
    assert shared.patch_centre.shape == (20,)


def test_every_trained_parameter_has_a_gradient_and_no_target_has() -> None:
    method = small()
    method.training_step(cast(Batch, trained_views()), 0)["loss"].backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == ("_ema" not in name), name
    assert method.mask_token.grad.any()


def trained_views() -> dict[str, Any]:
    """Two large views and two small ones, as the data give them."""
    data = Digits(batch_size=8, limit=16, val_size=8, seed=3, views=VIEWS)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    batch = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
    return dict(data.on_after_batch_transfer(batch, 0))


def test_small_views_are_seen_by_the_student_alone_and_positions_learn_from_them() -> None:
    batch = trained_views()
    assert [view.shape[-1] for view in batch["views"]] == [8, 8, 4, 4]
    method, sides = small(), list[int]()
    method.encoder_ema.normalize.register_forward_hook(lambda m, i, o: sides.append(o.shape[-1]))
    method.training_step(batch, 0)
    assert sides == [8]
    method.encoder(batch["views"][2]).sum().backward()
    assert method.encoder.backbone.pos_embed.grad.any()


def test_positions_are_learnt_unless_fixed_sines() -> None:
    learnt = small().encoder.backbone.get_parameter("pos_embed")
    assert learnt.requires_grad
    method = small(positions="sine")
    for encoder in (method.encoder, method.encoder_ema):
        fixed = encoder.backbone.get_parameter("pos_embed")
        assert torch.equal(fixed[0, -16:], sine_positions(fixed.shape[2], (4, 4)))
    assert not method.encoder.backbone.get_parameter("pos_embed").requires_grad
    method.training_step(trained_views(), 0)["loss"].backward()  # small views: resampled
    assert method.encoder.backbone.pos_embed.grad is None
    with pytest.raises(ValueError, match="positions"):
        small(positions="cosine")


def test_the_encoder_waits_for_its_heads(tmp_path: Path) -> None:
    method = small(
        optimizer={"name": "adamw", "lr": 0.01, "weight_decay": 0.5},
        freeze_encoder_steps=3,
        freeze_steps=1,
    )
    start, seen = copy.deepcopy(method.encoder.state_dict()), list[bool]()
    heads = method.heads[0].prototypes.weight_v.detach().clone()
    note = LambdaCallback(
        on_train_batch_end=lambda *_: seen.extend(
            [
                not same_state(start, method.encoder.state_dict()),
                torch.equal(heads, method.heads[0].prototypes.weight_v),
            ]
        )
    )
    trained(tmp_path, method, note, max_epochs=1)
    assert seen[::2] == [True, True, True, False, False]
    assert seen[1::2] == [True, False, False, False, False]


@pytest.mark.parametrize("options", [{}, IBOT])
def test_the_alarm_knows_the_loss_of_equal_images_and_patches(options: dict[str, Any]) -> None:
    method = small(**options)
    for network in (method.encoder.backbone, *method.heads, *method.heads_ema):
        for parameter in network.parameters():
            torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(method.encoder.backbone.norm.bias)
    loss = float(method.training_step(views(), 0)["loss"].detach())
    assert loss == pytest.approx(method.collapsed_loss(8), rel=1e-3)


def test_validation_moves_nothing() -> None:
    method = small().eval()
    before = copy.deepcopy(method.state_dict())
    method.validation_step(cast(Batch, {"image": torch.rand(4, 1, 8, 8)}), 0)
    assert not same_state(before, method.state_dict())
    assert not method.pending


def test_features_are_the_students_or_the_teachers() -> None:
    image = torch.rand(4, 1, 8, 8)
    for teacher in (False, True):
        method = small(teacher_features=teacher).eval()
        torch.nn.init.zeros_(method.encoder_ema.backbone.patch_embed.proj.weight)
        source = method.encoder_ema if teacher else method.encoder
        assert torch.equal(method(image), source(image))
        found = method.validation_step(cast(Batch, {"image": image}), 0)
        assert torch.equal(found["feature"], source(image))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (CNN, "small_cnn has no tokens of patches"),
        ({"ema_decay": 1.1}, r"ema_decay 1.1 must be in \[0, 1\]"),
        ({"teacher_temperature": 0}, "teacher_temperature 0 must be above 0"),
        ({"targets": "center"}, "targets has no setting 'center'"),
        ({"freeze_encoder_steps": -1}, "freeze_encoder_steps -1 must be at least 0"),
        ({"koleo_weight": -1}, "koleo_weight -1 must be at least 0"),
        ({"mask_ratio": [0.5, 0.1]}, "mask_ratio"),
        ({"shared_head": True, "patch_prototypes": 5}, "cannot be combined with shared_head"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**wrong)
