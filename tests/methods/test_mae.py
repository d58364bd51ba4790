"""MAE: what the encoder sees, what the loss asks for, and which features come out."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from genlab import losses
from genlab.augment.patches import cut
from genlab.contracts import Batch
from genlab.methods.mae import MAE
from genlab.networks.positions import sine_positions
from tests.methods.programs_masked import ROWS, VIT, batch

DECODER = {"decoder_width": 8, "decoder_depth": 1, "decoder_num_heads": 2}


def small(**options: Any) -> MAE:
    torch.manual_seed(1)
    kwargs = VIT["encoder_kwargs"] | options.pop("encoder_kwargs", {})
    return MAE(**VIT | DECODER | options | {"encoder_kwargs": kwargs})


def test_the_loss_is_of_the_masked_patches_of_kept_ones() -> None:
    method = small(norm_pix=False)
    keep, masked = method._drawn(batch()).values()
    assert keep.shape == (6, 4)
    found = method.training_step(batch(), 0)["loss"]
    prediction = method.decoder(method.encoder.tokens(batch()["image"], keep), keep)
    expected = (prediction - cut(batch()["image"], (4, 4))).square().mean(2)[masked].mean()
    torch.testing.assert_close(found, expected)


def test_masked_pixels_do_not_reach_the_prediction() -> None:
    """MA3."""
    method, given = small(), batch()
    keep = method._drawn(given)["keep"]
    pixels = given["image"].requires_grad_()
    method.decode(pixels, keep).sum().backward()
    assert pixels.grad is not None
    reached = cut(pixels.grad, (4, 4)).abs().sum(2) > 0
    assert torch.equal(reached.nonzero()[:, 1].view(6, 4), keep)


def validated(method: MAE, *batches: Batch) -> dict[str, float]:
    """Metrics of a split dealt in these batches."""
    for one in batches:
        method.validation_step(one, 0)
    found = {key: float(value) for key, value in method.masked_error.compute().items()}
    method.masked_error.reset()
    return found


def test_metrics_of_a_split_do_not_depend_on_its_batches() -> None:
    method, given = small(norm_pix=False).eval(), batch(n=6, seed=None)
    whole = validated(method, given)
    parts = [cast(Batch, {k: v[rows] for k, v in given.items()}) for rows in ROWS]  # type: ignore[index]
    assert validated(method, *parts) == pytest.approx(whole, rel=1e-6)
    assert whole["loss"] == pytest.approx(
        float(method.training_step(given, 0)["loss"].detach()), rel=1e-6
    )
    assert 0 != whole["explained"] < 1


def test_masks_change_with_the_batch_and_not_in_validation() -> None:
    method = small()
    first, second = (method._drawn(batch(seed=seed))["keep"] for seed in (7, 8))
    assert not torch.equal(first, second)
    method.eval()
    once, again = (validated(method, batch(seed=s)) for s in (None, 3))
    assert once == again


def test_features_are_of_all_patches() -> None:
    """MA7."""
    method, image = small().eval(), batch()["image"]
    assert torch.equal(method(image), method.encoder(image))
    assert torch.equal(method.validation_step(batch(), 0)["feature"], method(image))
    assert method.encode(image).shape == (6, 16)
    assert method.encode(image, tokens=True).shape == (6, 16, 16)


def test_positions_are_fixed_sines_unless_learnt_or_given() -> None:
    fixed = small().encoder.backbone.get_parameter("pos_embed")
    assert not fixed.requires_grad
    assert torch.equal(fixed[0, 1:], sine_positions(16, (4, 4)))
    assert not fixed[0, 0].any()
    assert small(positions="learnt").encoder.backbone.get_parameter("pos_embed").requires_grad


def test_colours_and_grey_have_a_decoder_of_their_own() -> None:
    """MA8."""
    for channels in (1, 3):
        method = small(channels=channels)
        assert method.decoder.head.out_features == 4 * channels
        assert method.training_step(batch(channels=channels), 0)["loss"].isfinite()


def test_the_target_is_normalised_as_the_encoders_input() -> None:
    options = {"normalize": {"mean": 0.5, "std": 0.25}}
    method, image = small(norm_pix=False, encoder_kwargs=options), batch()["image"]
    torch.testing.assert_close(method.target(image), cut((image - 0.5) / 0.25, (4, 4)))
    standardised = small(norm_pix=True).target(image)
    torch.testing.assert_close(standardised, losses.standardised(cut(image, (4, 4))))


@pytest.mark.parametrize("normalize", [None, {"mean": 0.4, "std": 0.3}, {"per_image": True}])
@pytest.mark.parametrize("norm_pix", [False, True])
def test_pictures_show_what_is_visible_and_what_is_predicted(
    norm_pix: bool, normalize: dict[str, Any] | None
) -> None:
    kwargs = {"normalize": normalize} if normalize else {}
    method, given = small(norm_pix=norm_pix, encoder_kwargs=kwargs).eval(), batch()
    masked = method._drawn(given)["masked"]
    shown = {name: cut(image, (4, 4)) for name, image in method.task_pictures(given).items()}
    assert (shown["input"][masked] == 0.5).all()
    torch.testing.assert_close(shown["input"][~masked], shown["target"][~masked])
    torch.testing.assert_close(shown["output"][~masked], shown["target"][~masked])
    assert not torch.allclose(shown["output"][masked], shown["target"][masked])
    method.decode = lambda image, keep: method.target(image)  # type: ignore[method-assign]
    found = method.task_pictures(given)
    torch.testing.assert_close(found["output"], found["target"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio 1.0 must be above 0 and below 1"),
        ({"positions": "cosine"}, "positions"),
        ({"decoder_width": 9}, "width 9 must be a multiple of num_heads 2"),
        ({"decoder_width": 6}, "a width that 4 divides"),
        ({"encoder_kwargs": {"patch_size": 1}}, "norm_pix requires patches of at least two values"),
        (
            {"encoder_kwargs": {"patch_size": 3}},
            "image_size 8 is not a multiple of patch_size 3; 6 or 9 px are whole patches",
        ),
        ({"encoder_kwargs": {"global_pool": "avg"}}, "fc_norm: false"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**wrong)


def test_cnns_are_refused_with_the_reason() -> None:
    with pytest.raises(
        ValueError, match="encoder small_cnn has no tokens of patches: this require"
    ):
        MAE(**VIT | DECODER | {"encoder": "small_cnn", "encoder_kwargs": {}})


def test_a_view_takes_the_images_place() -> None:
    given = batch()
    image = given["image"]
    expected = small().training_step(given, 0)["loss"]
    hidden: Batch = {**given, "image": torch.zeros_like(image), "views": [image]}
    torch.testing.assert_close(small().training_step(hidden, 0)["loss"], expected)
