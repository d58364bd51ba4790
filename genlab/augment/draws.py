"""Random parameters per image, the same for any number of processes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from genlab import distributed
from genlab.contracts import Batch

Params = dict[str, Tensor]  # name -> (N, ...) one row an image
Shape = tuple[int, ...]  # (N, C, H, W)
Draw = Callable[[Shape, torch.Generator], Params]

SEED = 7 << 40  # of validation
ROWS = 1024  # different draws in validation

_generators: dict[torch.device, torch.Generator] = {}


def generator(seed: int, device: torch.device, stream: int = 0) -> torch.Generator:
    """A generator on ``device`` that starts from ``seed``; the same object at every call.

    Args:
        seed: batch seed, in [0, 2^63).
        device: device of the draws.
        stream: one number for each use of the same seed, so that uses are independent.
    """
    kept = _generators.setdefault(device, torch.Generator(device))
    return kept.manual_seed((seed ^ (stream * 0x9E3779B97F4A7C15)) & (2**63 - 1))


@lru_cache
def constant(values: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Numbers as a shared constant tensor: the same object at every call, never to be changed.

    Copying them from Python to a GPU at each call would wait for all of its pending work.
    """
    with torch.inference_mode(False):  # its first user is not its last
        return torch.tensor(values, device=device, dtype=dtype)


def for_this_rank(
    draw: Draw, image: Tensor, seed: int, *, stream: int = 0, sliced: bool = True
) -> Params:
    """Parameters for a batch that is this process's share of the global one.

    They are drawn for the global batch, of which this process has rows ``rank, rank + world,
    ...`` (see `TrainLoader`), so N processes see what one would. No state is left behind.

    Args:
        draw: (shape of the global batch, generator) -> parameters.
        image: (B, C, H, W), this process's images.
        seed: batch seed, equal on all ranks.
        stream: number of the use, see `generator`.
        sliced: False when every rank has the same images and wants the same draw.
    """
    rows, count = rows_of_this_rank(len(image)) if sliced else (slice(None), len(image))
    every = draw((count, *image.shape[1:]), generator(seed, image.device, stream))
    return {name: drawn[rows] for name, drawn in every.items()}


def rows_of_this_rank(count: int) -> tuple[slice | Tensor, int]:
    """Rows of this process's images in the global batch, and the size of that.

    Args:
        count: number of this process's images.
    """
    world = distributed.world_size()
    return slice(distributed.rank(), None, world), count * world


def for_images(draw: Draw, batch: Batch, training: bool, stream: int) -> Params:
    """Parameters of each image: a training batch's by its seed, others' by the image's position.

    A training batch's are drawn for the global batch, of which each process takes its rows. In
    validation an image has the same draw in every epoch, batch and process.

    Args:
        draw: (shape of a batch, generator) -> parameters.
        batch: ``image`` (B, C, H, W), and ``seed`` in training, else ``index`` (B,).
        training: True in a training step.
        stream: number of the use of the seed, see `generator`.
    """
    image = batch["image"]
    if not training:
        return _fixed(draw, image, batch["index"], stream)
    seed = batch.get("seed")
    if seed is None:  # data from elsewhere; the generator starts anew at every batch
        seed = int(torch.randint(2**62, ()))
    return for_this_rank(draw, image, seed, stream=stream)


def _fixed(draw: Draw, image: Tensor, index: Tensor, stream: int) -> Params:
    every = draw((ROWS, *image.shape[1:]), generator(SEED, image.device, stream))
    rows = index.to(image.device) % ROWS
    return {name: drawn[rows] for name, drawn in every.items()}


def uniform(shape: Shape | int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Float32, uniform in [low, high)."""
    size = (shape,) if isinstance(shape, int) else shape
    return torch.rand(size, generator=generator, device=generator.device) * (high - low) + low


def normal(dim: int) -> Draw:
    """Draw of ``noise``, (N, dim), standard normal."""

    def draw(shape: Shape, generator: torch.Generator) -> Params:
        options: dict[str, Any] = {"generator": generator, "device": generator.device}
        return {"noise": torch.randn(shape[0], dim, **options)}

    return draw


def whole(limit: Tensor, generator: torch.Generator) -> Tensor:
    """Whole numbers, uniform in 0 ... limit, each with its own limit (an int64 tensor)."""
    unit = uniform(tuple(limit.shape), 0.0, 1.0, generator)
    return torch.minimum((unit * (limit + 1)).long(), limit)  # the product may round up


def coin(n: int, chance: float, generator: torch.Generator) -> Tensor:
    """(n,) bool, true with ``chance``."""
    return uniform(n, 0.0, 1.0, generator) < chance
