"""Toys: points and the density that they were drawn from belong together."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from genlab.data.toys import KINDS, Toys


def grid(cells: int, side: float = 8.0) -> tuple[torch.Tensor, float]:
    """Midpoints of a square around the origin, (cells^2, 2), and the area of a cell."""
    line = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells * side - side / 2
    return torch.cartesian_prod(line, line), (side / cells) ** 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one(kind: str) -> None:
    points, area = grid(320)
    assert Toys(kind).log_prob(points).exp().sum() * area == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_points_fall_where_the_density_says(kind: str) -> None:
    """Counts in 0.5 x 0.5 boxes against the integral over the box, within five deviations."""
    data, n = Toys(kind), 40_000
    points = data.draw(n, torch.Generator().manual_seed(0))[0].double()
    where, area = grid(320)
    mass = (data.log_prob(where).exp() * area).reshape(16, 20, 16, 20).sum((1, 3))
    box = ((points + 4) * 2).long()
    found = torch.zeros(16, 16).index_put((box[:, 0], box[:, 1]), torch.ones(n), accumulate=True)
    deviation = (n * mass * (1 - mass)).clamp(min=1).sqrt()
    assert ((found - n * mass).abs() / deviation).max() < 5


@pytest.mark.parametrize("kind", KINDS)
def test_batches_are_images_of_one_pixel_and_splits_differ(kind: str) -> None:
    data = Toys(kind, size=600, held_out=200, batch_size=100)
    batch = data.to_device(next(iter(data.train_dataloader())))
    assert batch["image"].shape == (100, 2, 1, 1)
    assert batch["image"].dtype == torch.float32
    assert set(batch["label"].tolist()) == set(range(data.num_classes))
    held = [next(iter(data.bank_dataloader(s)))["image"] for s in ("val", "test")]
    assert len(held[0]) == len(held[1]) == 200
    assert not torch.isin(held[0], held[1]).any()
    again = Toys(kind, size=600, held_out=200)
    assert torch.equal(next(iter(again.bank_dataloader("val")))["image"], held[0])


def test_the_entropy_of_far_gaussians_is_known() -> None:
    data = Toys(noise=0.02)
    points = data.draw(20_000, torch.Generator().manual_seed(0))[0]
    expected = -math.log(8) - math.log(2 * math.pi * 0.02**2) - 1
    assert data.log_prob(points).mean().item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "spiral"}, "unknown kind 'spiral'; choose from eight_gaussians"),
        ({"size": 0}, "size 0"),
        ({"noise": 0.0}, "noise 0.0"),
        ({"kind": "checkerboard", "noise": 0.1}, "none for a checkerboard"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Toys(**options)
