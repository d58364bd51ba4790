"""Paths between two images of a generator: straight, along an arc, or by gradient descent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genlab.contracts import DecodesNoise, number_of_classes
from genlab.evaluation.measured import Measured
from genlab.networks.interpolation import latent_path

PAIRS, POINTS, STEPS, RATE, SHOWN = 64, 17, 200, 0.03, 8

Decode = Callable[[Tensor], Tensor]  # latents (B, D) -> images


def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Lengths of three paths between 64 pairs of latents, in pixels, of 16 steps each.

    Args:
        method: generator with ``noise`` and ``decode``; each path is in one class, if there are
            any, all in turn.
        data: None; it is not used.
        judge: None; it is not used.

    Logs:
        test/path_<kind> (ratio, lower): length of a path over the distance of its two images, mean
            over pairs; of ``line`` (straight in the latents), ``arc`` (that keeps the latents'
            length) and ``descent`` (the line, after 200 steps of Adam that shorten it).
        test/path_<kind>_jump (ratio, lower): largest step of a path over its mean step, mean over
            pairs; 1 where images change evenly.

    Returns:
        These, and images along a few paths of each kind.

    Raises:
        ValueError: the method has no such latents.

    Source: Shao, Kumar, Fletcher 2017, arXiv:1711.08014, algorithm 1. Departure: Adam on all
    points at once.
    """
    able = isinstance(method, DecodesNoise)
    if not able:
        raise ValueError(f"{type(method).__name__} has no latents drawn as noise")
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        first, last = method.noise(PAIRS), method.noise(PAIRS)
    classes = number_of_classes(method)
    label = (torch.arange(PAIRS) % classes).to(first.device) if classes else None

    verb = inspect.unwrap(type(method).decode)  # with gradient: generators' is under no_grad

    def decode(z: Tensor) -> Tensor:
        if label is None:
            return verb(method, z)
        return verb(method, z, label.repeat_interleave(len(z) // PAIRS))

    ways = {kind: latent_path(first, last, POINTS, kind == "arc") for kind in ("line", "arc")}
    ways["descent"] = descended(decode, ways["line"])
    found, shown = dict[str, Any](), dict[str, Tensor]()
    for kind, way in ways.items():
        steps, images = step_lengths(decode, way)
        direct = (images[:, -1] - images[:, 0]).flatten(1).norm(dim=1).clamp(min=1e-9)
        found[f"path_{kind}"] = float((steps.sum(1) / direct).mean())
        jump = steps.amax(1) / steps.mean(1).clamp(min=1e-12)
        found[f"path_{kind}_jump"] = float(jump.mean())
        middle = images[:SHOWN, :: (POINTS - 1) // 4].clamp(0, 1)  # (8, 5, C, H, W)
        shown |= {f"{kind} {place / 4:g}": middle[:, place] for place in range(5)}
    return Measured(found, shown)


@torch.no_grad()
def step_lengths(decode: Decode, way: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of neighbouring images on paths, and the images.

    Args:
        decode: images of latents; rows of one path follow each other.
        way: latents (B, S, D).

    Returns:
        (B, S - 1), and (B, S, ...).
    """
    images = decode(way.flatten(0, 1)).unflatten(0, way.shape[:2])
    return images.diff(dim=1).flatten(2).norm(dim=2), images


@torch.enable_grad()
def descended(decode: Decode, way: Tensor, steps: int = STEPS, rate: float = RATE) -> Tensor:
    """Paths with the same ends and a lower energy, the sum of squared steps in the images.

    Of each path the best of all steps is kept, so that none has a higher energy than before.

    Args:
        decode: images of latents; rows of one path follow each other.
        way: latents (B, S, D), the start.
        steps: steps of Adam.
        rate: learning rate, in the latents' unit; it falls to 0.

    Returns:
        (B, S, D).
    """
    inner = way[:, 1:-1].detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([inner], rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best = way.detach().clone()
    lowest = torch.full((len(way),), torch.inf, device=way.device, dtype=way.dtype)
    for _ in range(steps + 1):
        whole = torch.cat([way[:, :1], inner, way[:, -1:]], 1)
        images = decode(whole.flatten(0, 1)).unflatten(0, whole.shape[:2])
        energy = images.diff(dim=1).square().flatten(1).sum(1)  # (B,)
        better = energy.detach() < lowest
        lowest = energy.detach().where(better, lowest)
        best[better] = whole.detach()[better]
        optimizer.zero_grad()
        inner.grad = torch.autograd.grad(energy.sum(), inner)[0]  # the generator's stay as they are
        optimizer.step()
        falling.step()
    return best
