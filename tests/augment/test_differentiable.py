"""DiffAugment: the reference code's distribution, gradients, and draws that belong to an image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.augment.differentiable import OPERATIONS, differentiable, unit_draw


def unit(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 7, generator=torch.Generator().manual_seed(seed))


def slow(image: Tensor, u: list[float]) -> Tensor:
    """One image, pixel by pixel, by the reference code's loops over integers."""
    side = image.shape[1]
    image = image + u[0] - 0.5
    grey = image.mean(0)
    image = torch.stack([grey + 2 * u[1] * (x - grey) for x in image])
    image = image.mean() + (u[2] + 0.5) * (image - image.mean())
    most = int(side / 8 + 0.5)
    down, right = (int(v * (2 * most + 1)) - most for v in u[3:5])
    size = int(side / 2 + 0.5)
    first = [int(v * (side + 1 - size % 2)) - size // 2 for v in u[5:]]
    hidden = [{min(max(k + f, 0), side - 1) for k in range(size)} for f in first]
    out = torch.zeros_like(image)
    for y in range(side):
        for x in range(side):
            if not (y in hidden[0] and x in hidden[1]):
                inside = 0 <= y - down < side and 0 <= x - right < side
                out[:, y, x] = image[:, y - down, x - right] if inside else 0
    return out


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 9, 9), (2, 28, 28)])
def test_equals_a_slow_reference(shape: tuple[int, int, int]) -> None:
    image, drawn = torch.rand(20, *shape) * 2 - 1, unit(20)
    found = differentiable(image, drawn, OPERATIONS)
    said = [slow(x, u) for x, u in zip(image, drawn.tolist(), strict=True)]
    torch.testing.assert_close(found, torch.stack(said))


def test_cutout_and_translation_at_eight_pixels_are_the_reference_codes() -> None:
    """0.827 of the pixels are left on average and 0.75 at least; shifts are of one pixel."""
    ones = torch.ones(4000, 1, 8, 8)
    left = differentiable(ones, unit(4000), ["cutout"]).mean((1, 2, 3))
    assert left.mean().item() == pytest.approx(0.827, abs=0.003)
    assert left.min().item() == 0.75
    point = torch.zeros(4000, 1, 8, 8)
    point[:, :, 4, 4] = 1
    moved = differentiable(point, unit(4000), ["translation"]).mean(0)[0]
    assert (moved[3:6, 3:6] * 9).sub(1).abs().max() < 0.2
    assert moved.sum().item() == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 0.333, 0.999])
def test_half_precision_has_the_same_places(value: float) -> None:
    """0.999 is 1 in bfloat16, one place beyond the last."""
    image, drawn = torch.randint(1, 100, (1, 1, 8, 8)).float(), torch.full((1, 7), value)
    for operation in ("translation", "cutout"):
        found = differentiable(image.bfloat16(), drawn, [operation])
        assert found.dtype == torch.bfloat16
        assert torch.equal(found.float(), differentiable(image, drawn, [operation]))


def test_colour_of_a_grey_image_is_brightness_and_contrast() -> None:
    image, drawn = torch.rand(6, 1, 8, 8) * 2 - 1, unit(6)
    other = drawn.clone()
    other[:, 1] = 0.9
    found = differentiable(image, drawn, ["color"])
    assert torch.equal(found, differentiable(image, other, ["color"]))
    mean = image.mean((1, 2, 3)) + drawn[:, 0] - 0.5
    torch.testing.assert_close(found.mean((1, 2, 3)), mean)
    assert found.max() > 1 or found.min() < -1  # never clamped, for the gradient's sake


def test_each_image_has_its_own_draws_and_a_gradient() -> None:
    image, drawn = torch.rand(4, 2, 8, 8, requires_grad=True), unit(4)
    found = differentiable(image, drawn, OPERATIONS)
    alone = differentiable(image[2:3], drawn[2:3], OPERATIONS)
    torch.testing.assert_close(found[2:3], alone)
    (slope,) = torch.autograd.grad(found[1].sum(), image)
    assert slope[1].any()
    assert not slope[[0, 2, 3]].any()
    assert torch.equal(differentiable(image, drawn, []), image)


def test_draws_are_uniform_and_different() -> None:
    drawn = unit_draw(2)((3000, 1, 8, 8), torch.Generator().manual_seed(1))["unit"]
    assert drawn.shape == (3000, 2, 7)
    assert drawn.mean((0, 1)).sub(0.5).abs().max() < 0.02
    assert not torch.equal(drawn[:, 0], drawn[:, 1])
