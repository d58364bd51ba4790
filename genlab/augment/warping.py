"""Random affine maps and smooth bends of drawings, one of each an image, in one resampling."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.augment.draws import Params, uniform
from genlab.augment.geometry import affine
from genlab.errors import check_names

KNOTS = 4  # of the bend along each side
LIMITS = {"rotate": 180, "scale": 0.99, "stretch": 0.99, "shear": 80, "shift": 1, "bend": 1}


class Warp:
    """Random affine maps and smooth bends, one of each an image; what is 0 changes nothing.

    Args:
        rotate: degrees, uniform in -rotate ... rotate.
        scale: factor uniform in 1 - scale ... 1 + scale.
        stretch: width over height, as a factor uniform in 1 - stretch ... 1 + stretch.
        shear: degrees along x, uniform in -shear ... shear.
        shift: share of the side, uniform in -shift ... shift, along x and along y.
        bend: standard deviation of the knots' displacement, share of the side; see `warp`.

    Raises:
        ValueError: a value out of range.
    """

    def __init__(
        self,
        rotate: float = 0.0,
        scale: float = 0.0,
        stretch: float = 0.0,
        shear: float = 0.0,
        shift: float = 0.0,
        bend: float = 0.0,
    ) -> None:
        self.most = {"rotate": rotate, "scale": scale, "stretch": stretch}
        self.most |= {"shear": shear, "shift": shift, "bend": bend}
        for name, value in self.most.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"views: warp.{name} must be a number, not {value!r}")
            if not 0 <= value <= LIMITS[name]:
                raise ValueError(f"views: warp.{name} must be in 0 ... {LIMITS[name]}, not {value}")

    def draw(self, n: int, generator: torch.Generator) -> Params:
        """Parameters of `warp` for ``n`` images, drawn on the generator's device.

        Returns:
            ``warp_angle``, ``warp_scale``, ``warp_stretch``, ``warp_shear`` (n,); ``warp_shift``
            (n, 2); ``warp_bend`` (n, 2, KNOTS, KNOTS).
        """
        most = self.most
        knots = torch.randn((n, 2, KNOTS, KNOTS), generator=generator, device=generator.device)
        return {
            "warp_angle": uniform(n, -most["rotate"], most["rotate"], generator),
            "warp_scale": uniform(n, 1 - most["scale"], 1 + most["scale"], generator),
            "warp_stretch": uniform(n, 1 - most["stretch"], 1 + most["stretch"], generator),
            "warp_shear": uniform(n, -most["shear"], most["shear"], generator),
            "warp_shift": uniform((n, 2), -most["shift"], most["shift"], generator),
            "warp_bend": knots * most["bend"],
        }

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self.most.items() if value)


def warp_from(options: dict[str, Any] | None) -> Warp | None:
    """The warp requested by a recipe's ``views.warp``; None if there is none.

    Raises:
        ValueError: an unknown argument, or a value out of range.
    """
    check_names("views.warp", options or {}, LIMITS)
    return Warp(**options) if options else None


def warp(image: Tensor, drawn: Params) -> Tensor:
    """Images (N, C, H, W) stretched, sheared, scaled, turned, moved and bent; black beyond them.

    Bilinear. The map is the affine one of `geometry.affine`; to it is added a displacement that is
    given at KNOTS x KNOTS places and bicubic between them, as Simard, Steinkraus, Platt 2003 bend
    handwriting by smoothed noise.

    Args:
        image: (N, C, H, W).
        drawn: parameters of `Warp.draw`.
    """
    angle, scale, stretch, shear, shift, bend = (
        drawn[f"warp_{name}"] for name in ("angle", "scale", "stretch", "shear", "shift", "bend")
    )
    height, width = image.shape[2:]
    map_ = affine(angle, scale, shear, width / height)  # (N, 2, 3), output to input
    wide = stretch.sqrt()
    linear = map_[:, :, :2] / torch.stack([wide, 1 / wide], 1)[:, :, None]
    theta = torch.cat([linear, 2 * shift[:, :, None]], 2)  # a side is 2 long
    grid = F.affine_grid(theta, [len(image), 1, height, width], align_corners=False)
    size = (height, width)
    smooth = F.interpolate(2 * bend, size, mode="bicubic", align_corners=True)
    return F.grid_sample(image, grid + smooth.permute(0, 2, 3, 1), align_corners=False)
