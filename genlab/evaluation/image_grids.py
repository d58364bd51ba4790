"""Images drawn by a trained method: samples, reconstructions, paths through its latent space."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genlab.contracts import (
    DecodesNoise,
    Interpolates,
    Reconstructs,
    Samples,
    number_of_classes,
    takes,
)
from genlab.drawing.grid import class_rows, pairs
from genlab.networks.interpolation import latent_path


@torch.no_grad()
def samples(
    method: Any, n: int, label: int | None = None, temperature: float = 1.0, seed: int = 0
) -> tuple[Tensor, int | None]:
    """New images and the number of columns to show them in, one row per class if any.

    Args:
        method: method with ``sample``.
        n: number of images, (n, C, H, W).
        label: class of all samples.
        temperature: temperature, for methods that have one.
        seed: seed of the noise.

    Raises:
        ValueError: the method does not sample, or has no such class or temperature.
    """
    _need(method, "sample")
    classes = number_of_classes(method)
    options: dict[str, Any] = {}
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature {temperature} must be at least 0 and finite")
    if temperature != 1.0:
        if not takes(method.sample, "temperature"):
            raise ValueError(f"{type(method).__name__} samples without a temperature")
        options["temperature"] = temperature
    if label is not None and not 0 <= label < classes:
        known = f"0 to {classes - 1}" if classes else "none: it is not class-conditional"
        raise ValueError(f"label {label} is not a class of {type(method).__name__}; it has {known}")
    torch.manual_seed(seed)
    if label is None:
        return class_rows(method, n, **options)
    return method.sample(n, label=torch.full((n,), label), **options), None


@torch.no_grad()
def reconstructions(method: Any, images: Tensor, label: Tensor, seed: int = 0) -> Tensor:
    """Rows of images with their reconstructions right below, 8 columns: (N, C, H, W) -> (2N, ...).

    Raises:
        ValueError: the method does not reconstruct.
    """
    _need(method, "reconstruct")
    torch.manual_seed(seed)
    with_label = takes(method.reconstruct, "label")
    again = method.reconstruct(images, label) if with_label else method.reconstruct(images)
    return pairs(images, again)


@torch.no_grad()
def interpolations(
    method: Any,
    images: Tensor,
    label: Tensor,
    steps: int,
    spherical: bool | None = None,
    seed: int = 0,
) -> Tensor:
    """Paths from each image to the next in latent space: (N, C, H, W) -> (N // 2 * steps, ...).

    Args:
        method: method with ``interpolate`` between images; or with ``noise`` and ``decode``, which
            goes from one draw of noise to another, for a generator without an encoder.
        images: starts and ends in turn.
        label: their classes (N,); a path stays in the class of its start where there are classes.
        steps: images of a path, both ends among them.
        spherical: along arcs around the prior's centre, or along lines; None for the method's own
            way, and for arcs between draws of noise.
        seed: seed of the noise.

    Raises:
        ValueError: the method has no continuous latent space, no choice of the way, or fewer than
            two steps.
    """
    if steps < 2:
        raise ValueError(f"steps {steps} must be at least 2: both ends")
    if not isinstance(method, Interpolates) and isinstance(method, DecodesNoise):
        torch.manual_seed(seed)
        return _between_noise(method, label[0::2], steps, spherical is not False)
    _need(method, "interpolate")
    start, end = images[0::2], images[1::2]
    options: dict[str, Any] = {}
    if takes(method.interpolate, "label"):
        options["label"] = label[0::2]
    if spherical is not None:
        if not takes(method.interpolate, "spherical"):
            raise ValueError(f"{type(method).__name__} interpolates in its own way; without --path")
        options["spherical"] = spherical
    paths = method.interpolate(start, end[: len(start)], steps, **options)
    return paths.flatten(0, 1)


def _between_noise(method: Any, label: Tensor, steps: int, spherical: bool) -> Tensor:
    start, end = method.noise(len(label)), method.noise(len(label))
    paths = latent_path(start, end, steps, spherical).flatten(0, 1)
    if not number_of_classes(method):
        return method.decode(paths)
    return method.decode(paths, label.to(start.device).repeat_interleave(steps))


VERBS: dict[str, Any] = {
    "sample": Samples,
    "reconstruct": Reconstructs,
    "interpolate": Interpolates,
}


def _need(method: Any, verb: str) -> None:
    if not isinstance(method, VERBS[verb]):
        able = [name for name, can in VERBS.items() if isinstance(method, can)]
        raise ValueError(
            f"{type(method).__name__} cannot {verb}; it can {', '.join(able) or 'classify'}"
        )
