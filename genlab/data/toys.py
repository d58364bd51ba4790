"""Points in the plane whose density is known: eight Gaussians, two moons, a checkerboard."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genlab.data.images import Images
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source

KINDS = {"eight_gaussians": 8, "two_moons": 2, "checkerboard": 8}  # name -> labels
SEEDS = {"train": 1, "val": 2, "test": 3}
NODES = 512  # of the quadrature along each moon
CHUNK = 8192  # points whose density is computed at a time


class Toys(Images):
    """Points drawn once from a known density, as images of two channels and one pixel.

    ``image`` is (B, 2, 1, 1) in the plane's own units, within about [-3, 3] and not in [0, 1];
    ``label`` says which Gaussian, moon or square a point was drawn from.

    Args:
        kind: name of the density: ``eight_gaussians`` on a circle of radius 2; ``two_moons``: half
            circles of radius 1 as scikit-learn has them, here with the angle uniform, times 1.5 and
            centred; ``checkerboard``: uniform on the 8 black unit squares of [-2, 2]^2.
        size: training points.
        held_out: validation points, and as many test points.
        noise: standard deviation of a Gaussian or around a moon; None for 0.1. A checkerboard has
            none.
        **kwargs: arguments of `Images`; those for pixels or files have no effect,
            nor has ``val_size``; ``folds`` is refused.

    Raises:
        ValueError: an unknown kind, or a value out of range.
    """

    channels, image_size = 2, 1

    def __init__(
        self,
        kind: str = "eight_gaussians",
        size: int = 50_000,
        held_out: int = 10_000,
        noise: float | None = None,
        **kwargs: Any,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; choose from {', '.join(KINDS)}")
        if min(size, held_out) < 1:
            raise ValueError(f"size {size} and held_out {held_out} must be at least 1")
        if noise is not None and (noise <= 0 or kind == "checkerboard"):
            raise ValueError(f"noise {noise}: above 0, and none for a checkerboard")
        super().__init__(**kwargs)
        self.division.refuse_folds(type(self).__name__)
        self.kind, self.num_classes = kind, KINDS[kind]
        self.sizes = {"train": size, "val": held_out, "test": held_out}
        self.noise = 0.1 if noise is None else float(noise)

    def sources(self) -> dict[str, Source]:
        """Training, validation and test points, always the same."""
        return {split: self._points(split) for split in self.sizes}

    def draw(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Fresh points (n, 2) and their labels (n,)."""
        label = torch.randint(0, self.num_classes, (n,), generator=generator)
        if self.kind == "checkerboard":
            return squares()[label] + torch.rand(n, 2, generator=generator), label
        if self.kind == "eight_gaussians":
            centre = gaussian_centres()[label]
        else:
            centre = moon(math.pi * torch.rand(n, generator=generator), label)
        return centre + self.noise * torch.randn(n, 2, generator=generator), label

    def log_prob(self, points: Tensor) -> Tensor:
        """The true log-density in nats: (N, 2) or (N, 2, 1, 1) -> (N,)."""
        flat = points.reshape(len(points), 2)
        return torch.cat([self._log_prob(part) for part in flat.split(CHUNK)])

    def component(self, points: Tensor) -> Tensor:
        """The Gaussian, moon or square on which each point lies: (N, 2) or (N, 2, 1, 1) -> (N,).

        Within four standard deviations of a Gaussian's mean or of a moon; -1 on none.
        """
        flat = points.reshape(len(points), 2).float()
        if self.kind == "checkerboard":
            inside = ((flat[:, None] >= squares()) & (flat[:, None] < squares() + 1)).all(2)
            return torch.where(inside.any(1), inside.int().argmax(1), -1)
        centres = self.centres().float()
        distance, nearest = torch.cdist(flat, centres).min(1)
        part = nearest // (len(centres) // self.num_classes)
        return torch.where(distance <= 4 * self.noise, part, -1)

    def _log_prob(self, x: Tensor) -> Tensor:
        if self.kind == "checkerboard":
            inside = (x[:, None] >= squares()) & (x[:, None] < squares() + 1)
            black = inside.all(2).any(1)
            return torch.where(black, -math.log(8), -math.inf).to(x.dtype)
        centres = self.centres().to(x)  # (K, 2), all equally likely
        squared = (x[:, None] - centres).square().sum(2) / self.noise**2
        constant = math.log(2 * math.pi * self.noise**2 * len(centres))
        return torch.logsumexp(-squared / 2, 1) - constant

    def centres(self) -> Tensor:
        """Means of the Gaussians that make up the density, (K, 2); along a moon, a fine row.

        Raises:
            ValueError: a checkerboard has none.
        """
        if self.kind == "checkerboard":
            raise ValueError("a checkerboard is not a mixture of Gaussians")
        if self.kind == "eight_gaussians":
            return gaussian_centres()
        angle = math.pi * (torch.arange(NODES, dtype=torch.float64) + 0.5) / NODES  # midpoints
        which = torch.tensor([0, 1]).repeat_interleave(NODES)
        return moon(angle.repeat(2), which)

    def _points(self, split: str) -> Pictures:
        generator = torch.Generator().manual_seed(SEEDS[split])
        points, label = self.draw(self.sizes[split], generator)
        return Pictures(points.view(-1, 2, 1, 1), label)


def gaussian_centres() -> Tensor:
    """Eight places on the circle of radius 2: (8, 2)."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    return (2 * torch.stack([angle.cos(), angle.sin()], 1)).float()


def moon(angle: Tensor, which: Tensor) -> Tensor:
    """Places on the upper (0) or lower (1) half circle: (N,) in [0, pi], (N,) -> (N, 2)."""
    x, y = angle.cos(), angle.sin()
    lower = which == 1
    place = torch.stack([torch.where(lower, 1 - x, x), torch.where(lower, 0.5 - y, y)], 1)
    return 1.5 * (place - place.new_tensor([0.5, 0.25]))


def squares() -> Tensor:
    """Lower left corners of the black squares: (8, 2)."""
    corners = [(i - 2.0, j - 2.0) for i in range(4) for j in range(4) if (i + j) % 2 == 0]
    return torch.tensor(corners)
