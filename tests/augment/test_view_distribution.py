"""Random views look, over many images, as torchvision's per-sample transforms make them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import (
    ColorJitter,
    Compose,
    GaussianBlur,
    RandomApply,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomSolarize,
)

from genlab.augment.view import View
from tests.augment.test_view import pictures

OFF: dict[str, Any] = {
    "crop": (1.0, 1.0), "flip": False, "jitter": (0, 0, 0, 0), "grey": 0.0, "blur": 0.0,
    "solarise": 0.0,
}  # fmt: skip
SWITCHES: dict[str, tuple[dict[str, Any], Any]] = {
    "crop": ({"crop": (0.08, 1.0)}, RandomResizedCrop(16, (0.08, 1.0), antialias=True)),
    "flip": ({"flip": True}, RandomHorizontalFlip()),
    "jitter": (
        {"jitter": (0.8, 0.8, 0.8, 0.2)},
        RandomApply([ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
    ),
    "hue": ({"jitter": (0, 0, 0, 0.2)}, RandomApply([ColorJitter(0, 0, 0, 0.2)], p=0.8)),
    "grey": ({"grey": 0.2}, RandomGrayscale(0.2)),
    "blur": ({"blur": 0.5}, RandomApply([GaussianBlur(3, (0.1, 2.0))], p=0.5)),
    "solarise": ({"solarise": 0.2}, RandomSolarize(0.5, p=0.2)),
}
SWITCHES["all"] = (
    {name: value for options, _ in SWITCHES.values() for name, value in options.items()}
    | {"jitter": (0.8, 0.8, 0.8, 0.2)},
    Compose([transform for name, (_, transform) in SWITCHES.items() if name != "hue"]),
)


@pytest.mark.parametrize("name", SWITCHES)
def test_means_and_spreads_are_those_of_torchvisions_transform(name: str) -> None:
    """Within 3.5 standard errors; nothing done at all is far outside them."""
    options, transform = SWITCHES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = torch.stack([transform(x) for x in reddish()])
    found = View(**OFF | options)(reddish(), 1)
    assert furthest(found, expected) < 3.5
    assert furthest(reddish(), expected) > 8


def reddish() -> Tensor:
    """Images of one distribution of colours, brighter on the right, with grain, (N, 3, 16, 16)."""
    grain = torch.rand(600, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    image = 0.5 * pictures(600, size=16) + 0.3 * torch.linspace(0, 1, 16) + 0.2 * grain
    return image * torch.tensor([1.0, 0.6, 0.4])[:, None, None]


def furthest(a: Tensor, b: Tensor) -> float:
    """Largest difference of a trait's mean or spread, in standard errors."""
    ours, theirs = traits(a), traits(b)
    middle = theirs.mean(0)
    scores = []
    for power in (1, 2):
        x, y = (ours - middle) ** power, (theirs - middle) ** power
        error = ((x.var(0) + y.var(0)) / len(a)).sqrt()
        scores.append((x.mean(0) - y.mean(0)).abs() / error.clamp(min=1e-5))
    return float(torch.cat(scores).max())


def traits(image: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 9): what crops, colours and blurs change."""
    colours, most, least = image.mean((2, 3)), image.amax(1), image.amin(1)
    slope = image.diff(dim=3).abs().mean((1, 2, 3))
    return torch.stack(
        [
            *colours.unbind(1),
            image.mean(1).std((1, 2)),
            (most - least).mean((1, 2)),
            (image > 0.999).float().mean((1, 2, 3)),
            slope,
            slope / image.std((1, 2, 3)).clamp(min=1e-3),
            image[..., :8].mean((1, 2, 3)) - image[..., 8:].mean((1, 2, 3)),
        ],
        1,
    )
