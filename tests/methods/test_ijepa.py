"""I-JEPA: what the encoder sees, what it predicts, and when the momentum encoder moves."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from genlab import losses
from genlab.augment.patches import cut
from genlab.contracts import Batch
from genlab.methods.ijepa import IJEPA
from genlab.networks.ema import line_to_one
from tests.methods.programs_masked import PATCHES_ALONE, ROWS, VIT, batch

PREDICTOR = {"predictor_width": 8, "predictor_depth": 1, "predictor_num_heads": 2, "targets": 2}


def small(**options: Any) -> IJEPA:
    torch.manual_seed(1)
    kwargs = VIT["encoder_kwargs"] | PATCHES_ALONE | options.pop("encoder_kwargs", {})
    return IJEPA(**VIT | PREDICTOR | options | {"encoder_kwargs": kwargs})


def test_the_loss_is_of_each_targets_own_momentum_tokens() -> None:
    method, given = small(), batch()
    context, targets = method._drawn(given).values()
    prediction = method.predict(given["image"], context, targets)
    taught = torch.nn.functional.layer_norm(method.teach(given["image"]), (16,))
    distances = []
    for b in range(6):
        for m in range(2):
            for k, place in enumerate(targets[b, m].tolist()):
                apart = (prediction[b, m, k] - taught[b, place]).abs()
                distances.append(torch.where(apart < 1, apart.square() / 2, apart - 0.5))
    found = method.training_step(given, 0)["loss"]
    torch.testing.assert_close(found, torch.stack(distances).mean())


def test_targets_may_be_standardised_over_the_batch() -> None:
    method, given = small(target_norm="images"), batch()
    context, targets = method._drawn(given).values()
    prediction = method.predict(given["image"], context, targets)
    wanted = losses.standardised_over_images(method.teach(given["image"]))
    rows = torch.arange(6)[:, None, None]
    expected = torch.nn.functional.smooth_l1_loss(prediction, wanted[rows, targets])
    torch.testing.assert_close(method.training_step(given, 0)["loss"], expected)
    with pytest.raises(ValueError, match="target_norm has no setting 'batch'"):
        small(target_norm="batch")


def test_the_encoder_sees_the_context_alone() -> None:
    method, given = small(), batch()
    context, targets = method._drawn(given).values()
    pixels = given["image"].requires_grad_()
    method.predict(pixels, context, targets).sum().backward()
    assert pixels.grad is not None
    reached = cut(pixels.grad, (4, 4)).abs().sum(2) > 0
    assert torch.equal(reached.nonzero()[:, 1].view(6, -1), context)


def test_the_order_of_the_context_changes_no_prediction() -> None:
    """IJ6."""
    method, image = small().eval(), batch()["image"]
    context, targets = method._drawn(batch()).values()
    found = method.predict(image, context.flip(1), targets)
    torch.testing.assert_close(found, method.predict(image, context, targets))


def test_each_target_is_predicted_apart_from_the_others() -> None:
    method, image = small().eval(), batch()["image"]
    context, targets = method._drawn(batch()).values()
    both = method.predict(image, context, targets)
    torch.testing.assert_close(method.predict(image, context, targets[:, 1:]), both[:, 1:])


def test_targets_carry_no_gradient_and_have_no_noise() -> None:
    method, given = small(encoder_kwargs={"drop_path_rate": 0.5}), batch()
    method.training_step(given, 0)["loss"].backward()
    assert all(p.grad is None for p in method.encoder_ema.parameters())
    assert torch.equal(method.teach(given["image"]), method.teach(given["image"]))
    held = {id(p) for p in method.parameters() if p.requires_grad}
    assert not held & {id(p) for p in method.encoder_ema.parameters()}


def test_the_momentum_encoder_moves_along_a_line_after_the_step() -> None:
    method = small(ema_decay=0.9)
    for network, value in ((method.encoder, 5.0), (method.encoder_ema, 2.0)):
        torch.nn.init.constant_(network.backbone.get_parameter("norm.weight"), value)
    method.after_step(5, 10)
    found = method.encoder_ema.backbone.get_parameter("norm.weight")[0]
    assert float(found.detach()) == pytest.approx(0.95 * 2 + 0.05 * 5, abs=1e-6)
    assert [line_to_one(0.996, k, 4) for k in (0, 2, 4)] == pytest.approx([0.996, 0.998, 1])
    assert line_to_one(0.9, 100, float("inf")) == 0.9


def test_blocks_change_with_the_batch_and_not_in_validation() -> None:
    method = small()
    places = [method._drawn(batch(seed=seed))["context"] for seed in (7, 8)]
    assert places[0].shape != places[1].shape or not torch.equal(*places)
    method.eval()
    first, second = (method.validation_step(batch(seed=s), 0)["loss"] for s in (None, 3))
    assert torch.equal(first, second)


def test_features_are_the_trained_or_the_momentum_encoders_mean() -> None:
    image = batch()["image"]
    method, teacher = small().eval(), small(teacher_features=True).eval()
    torch.testing.assert_close(method(image), method.encode(image, tokens=True).mean(1))
    torch.nn.init.ones_(teacher.encoder_ema.backbone.get_parameter("norm.bias"))
    assert torch.equal(teacher(image), teacher.encoder_ema(image))
    assert not torch.allclose(teacher(image), method(image))


def test_pictures_show_the_context_and_each_target() -> None:
    method, given = small().eval(), batch()
    context, targets = method._drawn(given).values()
    shown = {name: cut(image, (4, 4)) for name, image in method.task_pictures(given).items()}
    assert list(shown) == ["image", "context", "target 1", "target 2"]
    visible = {name: ~(image == 0.5).all(2) for name, image in shown.items()}
    assert torch.equal(visible["context"].nonzero()[:, 1].view(6, -1), context)
    assert torch.equal(visible["target 2"].nonzero()[:, 1].view(6, -1), targets[:, 1])


def test_the_spread_of_a_split_does_not_depend_on_its_batches() -> None:
    method, given = small().eval(), batch()
    for rows in ROWS:
        method.validation_step(cast(Batch, {k: given[k][rows] for k in ("image", "index")}), 0)
    found = method.token_spread.compute()
    whole = losses.spread_over_images(method.teach(given["image"]))
    assert float(found) == pytest.approx(float(whole), rel=1e-6)
    assert float(found) == pytest.approx(float(method.training_step(given, 0)["target_std"]))


def test_equal_tokens_of_all_images_are_a_collapse_that_is_seen() -> None:
    tokens = torch.randn(1, 16, 8).expand(6, -1, -1)
    assert float(losses.spread_over_images(tokens)) == pytest.approx(0, abs=1e-6)
    assert float(losses.spread_over_images(torch.randn(200, 16, 8))) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ema_decay": 1.1}, r"ema_decay 1.1 must be in \[0, 1\]"),
        ({"targets": 0}, "targets 0"),
        (
            {"encoder_kwargs": {"patch_size": 4}},
            "2 x 2 patches leave 3 of context next to a target",
        ),
        (
            {"encoder_kwargs": {"class_token": True, "global_pool": "token"}},
            "pools a class token, which this loss does not train",
        ),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**wrong)


def test_cnns_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="encoder small_cnn has no tokens of patches"):
        IJEPA(**VIT | {"encoder": "small_cnn", "encoder_kwargs": {}})


def test_a_view_takes_the_images_place() -> None:
    given = batch()
    image = given["image"]
    expected = small().training_step(given, 0)["loss"]
    hidden: Batch = {**given, "image": torch.zeros_like(image), "views": [image]}
    torch.testing.assert_close(small().training_step(hidden, 0)["loss"], expected)
