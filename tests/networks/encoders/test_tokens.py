"""Tokens of ViTs: timm's own values, of every kind; chosen and masked ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.networks import Encoder, encoder

SMALL: dict[str, Any] = {"depth": 2, "embed_dim": 24, "num_heads": 2}
KINDS: dict[str, tuple[int, dict[str, Any]]] = {  # tokens before the patches
    "vit_tiny_patch16_224": (1, SMALL),
    "deit_tiny_distilled_patch16_224": (2, SMALL),
    "deit3_small_patch16_224": (1, SMALL),  # positions of patches alone
    "vit_small_patch14_reg4_dinov2": (5, SMALL),  # the same, and registers
    "vit_xsmall_patch16_clip_224": (1, SMALL),  # a norm before the blocks
    "vit_base_patch16_gap_224": (0, SMALL),
    "eva02_tiny_patch14_224": (1, SMALL),  # rotary positions beside learnt ones
    "vit_small_patch16_rope_mixed_224": (1, SMALL),  # others in every block
    "vit_small_patch16_dinov3": (5, SMALL),
}


def small(name: str = "vit_tiny_patch16_224", size: int = 8, **options: Any) -> Encoder:
    torch.manual_seed(1)
    own = KINDS.get(name, (0, SMALL))[1]
    return encoder(name, 1, size, **{"patch_size": 2} | own | options)


def image(size: int = 8, n: int = 3) -> Tensor:
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", KINDS)
def test_tokens_are_timms_and_pool_to_the_features(name: str) -> None:
    network = small(name)
    found = network.tokens(image())
    assert found.grid == network.token_grid() == (4, 4)
    assert found.prefix.shape == (3, KINDS[name][0], 24)
    assert found.patches.shape == (3, 16, 24)
    backbone: Any = network.backbone
    whole = backbone.forward_features(image())
    assert torch.equal(torch.cat([found.prefix, found.patches], 1), whole)
    assert torch.equal(network.pooled(found), network(image()))


@pytest.mark.parametrize("name", KINDS)
def test_only_kept_patches_enter_at_their_own_places(name: str) -> None:
    """Those of one order and of another are the same, and all of them are the whole image's."""
    network = small(name).eval()
    order = torch.stack([torch.randperm(16) for _ in range(3)])
    whole, all_kept = network.tokens(image()), network.tokens(image(), order)
    index = order[..., None].expand(-1, -1, 24)
    torch.testing.assert_close(all_kept.patches, whole.patches.gather(1, index))
    some = network.tokens(image(), order[:, :5])
    turned = network.tokens(image(), order[:, :5].flip(1))
    torch.testing.assert_close(turned.patches.flip(1), some.patches)
    torch.testing.assert_close(turned.prefix, some.prefix)


def test_pixels_of_other_patches_reach_no_kept_token() -> None:
    network, pixels = small(), image().requires_grad_()
    found = network.tokens(pixels, torch.tensor([[0, 5]] * 3))
    (found.patches.sum() + found.prefix.sum()).backward()
    assert pixels.grad is not None
    patches = pixels.grad.unfold(2, 2, 2).unfold(3, 2, 2).abs().sum((1, 4, 5)).flatten(1)
    reached = patches > 0
    assert reached.nonzero()[:, 1].tolist() == [0, 5] * 3


def test_a_mask_token_stands_in_for_patches_before_positions() -> None:
    """Nothing of a masked patch is left, and two masked patches differ by their places alone."""
    network, token = small().eval(), torch.randn(24, requires_grad=True)
    masked = torch.zeros(3, 16, dtype=torch.bool)
    masked[:, 3:6] = True
    pixels = image().requires_grad_()
    found = network.tokens(pixels, masked=masked, mask_token=token)
    found.patches.sum().backward()
    assert pixels.grad is not None
    assert token.grad is not None
    touched = pixels.grad.unfold(2, 2, 2).unfold(3, 2, 2).abs().sum((1, 4, 5)).flatten(1) > 0
    assert torch.equal(touched, ~masked)
    everywhere = network.tokens(image(), masked=torch.ones_like(masked), mask_token=token)
    torch.testing.assert_close(everywhere.patches[0], everywhere.patches[1])
    assert not torch.allclose(everywhere.patches[0, 3], everywhere.patches[0, 4])
    none = network.tokens(image(), masked=torch.zeros_like(masked), mask_token=token)
    assert torch.equal(none.patches, network.tokens(image()).patches)


def test_positions_are_resampled_to_other_sizes_and_learn_from_them() -> None:
    network = small("vit_small_patch14_reg4_dinov2")
    found = network.tokens(image(12))
    assert found.grid == (6, 6)
    found.patches.square().sum().backward()
    positions: Any = network.backbone.get_parameter("pos_embed").grad
    assert (positions.abs().sum((0, 2)) > 0).all()
    made: Any = small("vit_small_patch14_reg4_dinov2", dynamic_img_size=True)
    assert torch.equal(found.patches, made.tokens(image(12)).patches)
    assert torch.equal(network.pooled(found), made(image(12)))
    with pytest.raises(ValueError, match="images of 9 x 9 px are not whole patches, 2 x 2"):
        network.tokens(image(9))


def test_fixed_rotary_positions_refuse_other_sizes() -> None:
    with pytest.raises(ValueError, match="dynamic_img_size: true"):
        small("eva02_tiny_patch14_224").tokens(image(12))
    assert small("eva02_tiny_patch14_224", dynamic_img_size=True).tokens(image(12)).grid == (6, 6)


def test_activations_computed_anew_change_nothing() -> None:
    kinds = ("vit_tiny_patch16_224", "eva02_tiny_patch14_224")
    for name in kinds:
        found = []
        for again in (False, True):
            network = small(name, grad_checkpointing=again)
            network.tokens(image(), torch.arange(6).expand(3, -1)).patches.square().sum().backward()
            found.append([p.grad for p in network.parameters()])
        torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", ["small_cnn", "vit_small_r26_s32_224"])
def test_networks_without_tokens_are_refused(name: str) -> None:
    network = encoder(name, 1, 32)
    with pytest.raises(ValueError, match=f"encoder {name} has no tokens of patches: this requires"):
        network.tokens(image(32))


def test_patches_that_timm_drops_are_refused() -> None:
    for name in ("vit_tiny_patch16_224", "eva02_tiny_patch14_224"):
        with pytest.raises(ValueError, match="cannot be combined with patch_drop_rate"):
            small(name, patch_drop_rate=0.5).token_grid()


def test_pooling_with_weights_of_its_own_is_refused_for_training() -> None:
    pooled = small(global_pool="avg")
    assert pooled.token_grid() == (4, 4)
    with pytest.raises(ValueError, match=r"set encoder_kwargs\.fc_norm: false"):
        pooled.token_grid(trained=True)
    with pytest.raises(ValueError, match="pools by attention"):
        small(global_pool="map").token_grid(trained=True)
    assert small(global_pool="avg", fc_norm=False).token_grid(trained=True) == (4, 4)
