"""Paths between latents, straight and along the sphere."""

from __future__ import annotations

import torch
from torch import Tensor


def latent_path(start: Tensor, end: Tensor, steps: int, spherical: bool = True) -> Tensor:
    """Points on the way from one latent to another: 2 x (B, D) -> (B, steps, D).

    A straight line passes where hardly any latent lies: in D dimensions they are about sqrt(D)
    from the centre. The arc keeps its distance (Shoemake 1985, "Animating rotation with quaternion
    curves"; White 2016, arXiv:1609.04468).

    Args:
        start: latents.
        end: latents.
        steps: points, both ends among them.
        spherical: the arc, with the length interpolated, instead of the line.
    """
    along = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype)
    return latent_points(start, end, along.expand(len(start), -1), spherical)


def latent_points(start: Tensor, end: Tensor, along: Tensor, spherical: bool = True) -> Tensor:
    """Points at given shares of the way, see `latent_path`: 2 x (B, D), (B, S) -> (B, S, D)."""
    along = along[:, :, None]
    line = torch.lerp(start[:, None], end[:, None], along)
    if not spherical:
        return line
    lengths = [part.norm(dim=1, keepdim=True).clamp(min=1e-12) for part in (start, end)]
    cosine = (start / lengths[0] * end / lengths[1]).sum(1, keepdim=True).clamp(-1, 1)
    angle = cosine.acos()[:, None]  # (B, 1, 1)
    length = torch.lerp(lengths[0][:, None], lengths[1][:, None], along)
    arc = ((1 - along) * angle).sin() * (start / lengths[0])[:, None]
    arc = arc + (along * angle).sin() * (end / lengths[1])[:, None]
    return torch.where(angle.sin() < 1e-4, line, length * arc / angle.sin().clamp(min=1e-4))
