"""The decoder by sub-pixel convolutions, and the size of the map that it takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genlab import networks
from genlab.networks.sub_pixel import SubPixelDecoder, map_shape


def test_channel_2i_plus_j_becomes_pixel_i_j() -> None:
    """SR1."""
    channels = torch.arange(4.0).view(1, 4, 1, 1)
    assert nn.PixelShuffle(2)(channels).flatten().tolist() == [0, 1, 2, 3]
    shuffles = [m for m in SubPixelDecoder(8, 3, 4, 16).modules() if isinstance(m, nn.PixelShuffle)]
    assert len(shuffles) == 2


@pytest.mark.parametrize(("small", "large"), [(4, 16), (3, 28), (8, 8), (8, 4)])
def test_any_side_comes_out(small: int, large: int) -> None:
    assert SubPixelDecoder(6, 3, small, large, 4)(torch.rand(2, 6, small, small)).shape == (
        2, 3, large, large,
    )  # fmt: skip


def test_the_map_of_an_encoder_is_found_without_a_trace() -> None:
    encoder = networks.encoder("small_cnn", 3, 32, width=4)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    assert map_shape(encoder, 3, 32) == (16, 8)
    assert map_shape(encoder, 3, 14) == (16, 3)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert encoder.training
    vit = networks.encoder(
        "vit_tiny_patch16_224", 1, 16, embed_dim=16, depth=1, num_heads=2, patch_size=4
    )
    assert map_shape(vit, 1, 16) == (16, 4)
    with pytest.raises(ValueError, match="vit_tiny_patch16_224 cannot take images of 8 px"):
        map_shape(vit, 1, 8)
