"""Shapes for every size and colour count, and what the conv pair promises about its map."""

from __future__ import annotations

import pytest
import torch

from genlab.networks import ConvDecoder, ConvEncoder, image_decoder, image_encoder

SIZES = [8, 9, 28, 31, 32, 64]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_vector_pair_has_the_asked_shapes(name: str, channels: int, size: int) -> None:
    encoder = image_encoder(name, channels, size, 5, [16])
    decoder = image_decoder(name, 5, 2 * channels, size, [16])
    z = encoder(torch.rand(2, channels, size, size))
    assert z.shape == (2, 5)
    assert decoder(z).shape == (2, 2 * channels, size, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("downsamplings", [0, 1, 2, 3])
def test_map_pair_halves_and_comes_back(size: int, downsamplings: int) -> None:
    encoder = ConvEncoder(3, 6, size, downsamplings, width=16)
    decoder = ConvDecoder(6, 3, size, downsamplings, width=16)
    z = encoder(torch.rand(2, 3, size, size))
    assert z.shape == (2, 6, encoder.map_size, encoder.map_size)
    assert encoder.map_size == decoder.map_size == size // 2**downsamplings
    assert decoder(z).shape == (2, 3, size, size)


def test_every_pixel_reaches_the_map_and_is_drawn_from_it() -> None:
    """No border pixel of an odd image is left out by strides or by the output padding."""
    encoder, decoder = ConvEncoder(1, 4, 31, 3, width=16), ConvDecoder(4, 1, 31, 3, width=16)
    image = torch.rand(1, 1, 31, 31, requires_grad=True)
    z = encoder(image)
    (gradient,) = torch.autograd.grad(z.square().sum(), image)
    assert (gradient != 0).all()
    change = decoder(z.detach() + torch.randn(z.shape)) - decoder(z.detach())
    assert (change != 0).all()


def test_too_many_halvings_are_refused() -> None:
    with pytest.raises(ValueError, match="8 px cannot be halved 4 times"):
        ConvEncoder(1, 4, 8, 4)


def test_unknown_decoder_is_refused() -> None:
    with pytest.raises(ValueError, match="choose from mlp, conv"):
        image_decoder("resnet18", 4, 1, 8)
