"""Drawn shapes whose five factors are known, every combination once."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.data import splits
from genlab.data.images import Images
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source

LEVELS = {"shape": 3, "scale": 4, "angle": 8, "x": 8, "y": 8}
SIDE, SUBPIXELS = 32, 8  # a pixel is the mean of 8 x 8 points
SCALES = (0.13, 0.16, 0.19, 0.22)  # half the height, in sides of the image
STEP = 12  # points from place to place: a pixel and a half
TEST_SHARE = 0.2


class FactorShapes(Images):
    """6,144 images of one white shape: 3 shapes x 4 scales x 8 angles x 8 x 8 places, 32 x 32 grey.

    A wedge, a half disc and an L, none of which looks the same after a turn, so that every angle
    is told apart. ``index`` counts combinations with y fastest; ``label`` is the shape. A fifth of
    the images, always the same, is test: the splits together are all combinations, whose levels
    are equally frequent, so that entropies are exact.

    Source: after dSprites (Matthey et al. 2017); drawn here. Departure: its square and ellipse,
    which are their own turns, are other shapes; fewer angles and places.
    """

    channels, num_classes, image_size = 1, 3, SIDE
    classes = ("wedge", "half disc", "L")
    factor_names = tuple(LEVELS)

    def sources(self) -> dict[str, Source]:
        """Training and test images."""
        factors = every_factor()
        whole = Pictures(draw(), factors[:, 0])
        train, test = splits.carve(factors[:, 0].numpy(), round(TEST_SHARE * len(factors)), seed=0)
        return {
            "train": whole.subset(torch.from_numpy(train)),
            "test": whole.subset(torch.from_numpy(test)),
        }

    def factors(self, index: Tensor) -> Tensor:
        """Levels of the factors of images by their ``index``: (N,) -> (N, 5) int64."""
        return every_factor()[index.cpu()]


def every_factor() -> Tensor:
    """All combinations of levels, (6144, 5) int64, the last factor fastest."""
    return torch.cartesian_prod(*(torch.arange(count) for count in LEVELS.values()))


def draw() -> Tensor:
    """The images of `every_factor`, (6144, 1, 32, 32) bytes."""
    canvas = _canvas()  # (3, 4, 8, H, W), in points
    side, reach = SIDE * SUBPIXELS, STEP * 7
    images = torch.zeros(*LEVELS.values(), SIDE, SIDE, dtype=torch.uint8)
    for x in range(LEVELS["x"]):
        for y in range(LEVELS["y"]):
            left, top = reach - x * STEP, reach - y * STEP
            points = canvas[..., top : top + side, left : left + side].flatten(0, 2)
            pixels = F.avg_pool2d(points[:, None].float(), SUBPIXELS)
            images[:, :, :, x, y] = (pixels * 255).round().byte().view(3, 4, 8, SIDE, SIDE)
    return images.view(-1, 1, SIDE, SIDE)


def _canvas() -> Tensor:
    """Whether points lie inside each shape, scale and angle: (3, 4, 8, H, W) bool.

    Wider than an image by the way of the places; the shape's centre is the middle.
    """
    count = SIDE * SUBPIXELS + STEP * 7
    at = (torch.arange(count, dtype=torch.float64) + 0.5 - count / 2) / (SIDE * SUBPIXELS)
    size = torch.tensor(SCALES, dtype=torch.float64).view(-1, 1, 1, 1)
    turn = torch.arange(LEVELS["angle"]).view(-1, 1, 1).double() * 2 * math.pi / LEVELS["angle"]
    dx, dy = at / size, at[:, None] / size  # in half heights
    u, v = turn.cos() * dx + turn.sin() * dy, turn.cos() * dy - turn.sin() * dx  # turned back
    return torch.stack([_wedge(u, v), _half_disc(u, v), _ell(u, v)])


def _wedge(u: Tensor, v: Tensor) -> Tensor:
    """A narrow triangle that points up."""
    return (v <= 1) & (v >= -1) & (u.abs() <= (v + 1) * 0.4)


def _half_disc(u: Tensor, v: Tensor) -> Tensor:
    """The lower half of a disc, moved up by half its height."""
    return (u.square() + (v + 0.5).square() <= 1) & (v >= -0.5)


def _ell(u: Tensor, v: Tensor) -> Tensor:
    """A tall bar with a foot to the right."""
    bar = (u >= -0.7) & (u <= -0.1) & (v.abs() <= 1)
    return bar | ((u >= -0.7) & (u <= 0.7) & (v >= 0.4) & (v <= 1))
