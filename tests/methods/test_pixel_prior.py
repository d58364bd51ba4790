"""PixelPrior: a distribution over images and vectors, drawn as it is measured."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from genlab.methods.pixel_prior import PixelPrior

SMALL: dict[str, Any] = {"width": 8, "depth": 1, "heads": 2, "kernel_size": 3}


def prior(channels: int, size: int, **options: Any) -> PixelPrior:
    torch.manual_seed(0)
    method = PixelPrior(channels, size, **(SMALL | options)).eval()
    with torch.no_grad():
        for p in method.parameters():
            p.add_(0.5 * torch.randn_like(p))
    return method


@torch.no_grad()
@pytest.mark.parametrize(
    ("network", "channels", "size"),
    [("transformer", 1, 2), ("pixelcnn", 1, 2), ("transformer", 4, 1), ("pixelcnn", 1, 1)],
)
def test_probabilities_sum_to_one_and_draws_have_them(
    network: str, channels: int, size: int
) -> None:
    method, dims = prior(channels, size, levels=3, network=network), channels * size**2
    every = torch.tensor(list(product([0.0, 0.5, 1.0], repeat=dims))).view(-1, channels, size, size)
    p = method.log_prob(every).exp()
    assert p.sum().item() == pytest.approx(1.0, abs=1e-5)
    drawn = method.sample(20_000)
    assert drawn.shape == (20_000, channels, size, size)
    found = (drawn[:, None] == every).flatten(2).all(2).float().mean(0)
    assert (found - p).abs().max() < 0.017  # over 4.8 standard errors
    assert torch.allclose(method(every).sum(1), p.log(), atol=1e-4)


def test_channels_of_a_pixel_follow_each_other() -> None:
    """The third number of two channels of 2 x 2 pixels is the first channel of the second pixel."""
    method = prior(2, 2)
    image = torch.zeros(1, 2, 2, 2)
    other = image.clone()
    other[0, 0, 0, 1] = 1
    moved = (method(image) - method(other)).abs()[0] > 0
    assert moved.tolist() == [False, False] + [True] * 6


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"levels": 1}, "levels must be at least 2"),
    ({"network": "lstm"}, "unknown network 'lstm'; choose from transformer, pixelcnn"),
    ({"network": "pixelcnn", "channels": 3}, "pixelcnn requires one channel"),
]


@pytest.mark.parametrize(("options", "words"), WRONG)
def test_bad_arguments_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PixelPrior(**options)
