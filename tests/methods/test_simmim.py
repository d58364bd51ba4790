"""SimMIM: a token in place of masked squares, and a loss of those alone."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from genlab.augment.patches import cut
from genlab.contracts import Batch
from genlab.methods.simmim import SimMIM
from genlab.networks.positions import sine_positions
from tests.methods.programs_masked import PATCHES_ALONE, ROWS, VIT, batch


def small(**options: Any) -> SimMIM:
    torch.manual_seed(1)
    kwargs = VIT["encoder_kwargs"] | PATCHES_ALONE | options.pop("encoder_kwargs", {})
    return SimMIM(**VIT | options | {"encoder_kwargs": kwargs})


def test_the_loss_is_of_masked_squares() -> None:
    """Three of four squares of 2 x 2 patches, 12 of 16 patches."""
    method = small()
    masked = method._drawn(batch())["masked"]
    assert (masked.sum(1) == 12).all()
    found = method.training_step(batch(), 0)["loss"]
    prediction = method.decode(batch()["image"], masked)
    apart = cut((prediction - batch()["image"]).abs(), (4, 4)).mean(2)
    torch.testing.assert_close(found, apart[masked].mean())


def test_the_squared_distance_is_chosen_by_name() -> None:
    method = small(loss="l2")
    prediction = method.decode(batch()["image"], masked := method._drawn(batch())["masked"])
    apart = cut((prediction - batch()["image"]).square(), (4, 4)).mean(2)
    found = method.training_step(batch(), 0)["loss"]
    torch.testing.assert_close(found, apart[masked].mean())
    squared, absolute = (validated(one.eval(), batch()) for one in (method, small()))
    assert squared["loss"] != absolute["loss"]


def test_nothing_of_a_masked_patch_is_seen() -> None:
    method, given = small(), batch()
    masked = method._drawn(given)["masked"]
    pixels = given["image"].requires_grad_()
    method.decode(pixels, masked).sum().backward()
    assert pixels.grad is not None
    assert torch.equal(cut(pixels.grad, (4, 4)).abs().sum(2) > 0, ~masked)


def validated(method: SimMIM, *batches: Batch) -> dict[str, float]:
    """Metrics of a split dealt in these batches."""
    for one in batches:
        method.validation_step(one, 0)
    found = {key: float(value) for key, value in method.masked_error.compute().items()}
    method.masked_error.reset()
    return found


def test_metrics_of_a_split_do_not_depend_on_its_batches() -> None:
    """Masks of unequal sizes, where squares are cut at the border of 4 x 4 patches."""
    method, given = small(unit_size=3).eval(), batch(n=6, seed=None)
    whole = validated(method, given)
    parts = [cast(Batch, {k: v[rows] for k, v in given.items()}) for rows in ROWS]  # type: ignore[index]
    assert validated(method, *parts) == pytest.approx(whole, rel=1e-6)
    assert whole["loss"] == pytest.approx(
        float(method.training_step(given, 0)["loss"].detach()), rel=1e-6
    )
    assert 0 != whole["explained"] < 1


def test_masks_change_with_the_batch_and_not_in_validation() -> None:
    method = small()
    first, second = (method._drawn(batch(seed=seed))["masked"] for seed in (7, 8))
    assert not torch.equal(first, second)
    method.eval()
    once, again = (validated(method, batch(seed=s)) for s in (None, 3))
    assert once == again


def test_features_are_the_mean_of_all_patches() -> None:
    method, image = small().eval(), batch()["image"]
    tokens = method.encode(image, tokens=True)
    assert tokens.shape == (6, 16, 16)
    for features in (method(image), method.encode(image), method.validation_step(batch(), 0)):
        found = features["feature"] if isinstance(features, dict) else features
        torch.testing.assert_close(found, tokens.mean(1))


def test_positions_are_fixed_sines_unless_learnt() -> None:
    fixed = small().encoder.backbone.get_parameter("pos_embed")
    assert not fixed.requires_grad
    assert torch.equal(fixed[0], sine_positions(16, (4, 4)))
    assert small(positions="learnt").encoder.backbone.get_parameter("pos_embed").requires_grad


def test_colours_and_grey_have_a_head_of_their_own() -> None:
    """MA8."""
    for channels in (1, 3):
        method = small(channels=channels)
        assert method.head.out_features == 4 * channels
        assert method.training_step(batch(channels=channels), 0)["loss"].isfinite()


def test_pictures_show_what_is_visible_and_what_is_predicted() -> None:
    method, given = small(encoder_kwargs={"normalize": {"mean": 0.4, "std": 0.3}}).eval(), batch()
    masked = method._drawn(given)["masked"]
    shown = {name: cut(image, (4, 4)) for name, image in method.task_pictures(given).items()}
    assert (shown["input"][masked] == 0.5).all()
    for name in ("input", "output"):
        assert torch.equal(shown[name][~masked], shown["target"][~masked])
    expected = method.decode(given["image"], masked) * 0.3 + 0.4
    wanted = cut(expected.clamp(0, 1), (4, 4))[masked]
    torch.testing.assert_close(shown["output"][masked], wanted)


def test_pictures_of_images_with_their_own_scale_are_in_it() -> None:
    method, given = small(encoder_kwargs={"normalize": {"per_image": True}}).eval(), batch()
    given["image"] = 0.2 + 0.1 * given["image"]
    method.decode = lambda image, masked: method.encoder.normalize(image)  # type: ignore[method-assign]
    found = method.task_pictures(given)
    torch.testing.assert_close(found["output"], found["target"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mask_ratio": 0.0}, "mask_ratio 0.0 must be above 0 and below 1"),
        ({"loss": "huber"}, "loss has no setting 'huber'"),
        ({"unit_size": 4}, "unit_size 4 must be at least 1 and below the 4 x 4 patches"),
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
        SimMIM(**VIT | {"encoder": "small_cnn", "encoder_kwargs": {}})


def test_a_view_takes_the_images_place() -> None:
    given = batch()
    image = given["image"]
    expected = small().training_step(given, 0)["loss"]
    hidden: Batch = {**given, "image": torch.zeros_like(image), "views": [image]}
    torch.testing.assert_close(small().training_step(hidden, 0)["loss"], expected)
