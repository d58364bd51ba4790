"""FactorShapes: every combination once, images that differ, factors that belong to them."""

from __future__ import annotations

import torch

from genlab.data import FactorShapes
from genlab.data.factor_shapes import LEVELS, draw, every_factor


def test_every_combination_is_another_image_inside_the_frame() -> None:
    images, factors = draw(), every_factor()
    assert len(images.flatten(1).unique(dim=0)) == len(factors.unique(dim=0)) == 6144
    edges = torch.stack([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]])
    assert int(edges.max()) == 0
    assert int(images.max()) == 255


def test_levels_are_what_the_images_show() -> None:
    """Centres move by a pixel and a half, areas grow with the square of the scale."""
    images = draw().double().view(*LEVELS.values(), 32, 32)
    at = torch.arange(32, dtype=torch.float64) + 0.5
    mass = images.sum((-1, -2))
    across = (images.sum(-2) * at).sum(-1) / mass
    down = (images.sum(-1) * at).sum(-1) / mass
    step = torch.full((3, 4, 8, 7, 8), 1.5, dtype=torch.float64)
    torch.testing.assert_close(across.diff(dim=3), step, atol=0.05, rtol=0)
    torch.testing.assert_close(down.diff(dim=4), step.transpose(3, 4), atol=0.05, rtol=0)
    area = mass.mean((0, 2, 3, 4))
    scale = torch.tensor([0.13, 0.16, 0.19, 0.22], dtype=torch.float64).square()
    torch.testing.assert_close(area / area[0], scale / scale[0], atol=0, rtol=0.01)


def test_a_half_turn_is_four_levels_of_the_angle() -> None:
    """Turned about the frame's middle, place (x, y) becomes (7 - x, 7 - y)."""
    images = draw().view(*LEVELS.values(), 32, 32)
    turned = images.flip(-1, -2).flip(3, 4).roll(4, 2)
    difference = (turned.int() - images.int()).abs()
    assert float((difference > 32).double().mean()) < 1e-3


def test_splits_hold_all_combinations_with_their_factors() -> None:
    data = FactorShapes(batch_size=64, val_size=500)
    images = draw()
    seen = []
    for split in ("train", "val", "test"):
        for raw in data.bank_dataloader(split):
            batch = data.to_device(raw)
            assert torch.equal(batch["label"], data.factors(batch["index"])[:, 0])
            assert torch.equal(batch["image"].mul(255).round().byte(), images[batch["index"]])
            seen.append(batch["index"])
    assert torch.equal(torch.cat(seen).sort().values, torch.arange(6144))
