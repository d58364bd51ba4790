"""Features of an inner stage of an encoder: what enters the stage after it, pooled.

The best features for another task are often not the last. Stages are those of `layer_groups`: the
stem, a ResNet's layers, a ViT's blocks, and counted from 0, the stem.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

POOL = 2  # places along a side that are kept of a feature map


def stage_features(
    encoder: Any, stage: int, run: Callable[[Tensor], Any], image: Tensor, pool: int = POOL
) -> Tensor:
    """The output of a stage while something runs the encoder.

    Args:
        encoder: encoder whose stage is read.
        stage: number of the stage, from 0, the stem.
        run: function that passes images through the encoder: itself, or a method.
        image: (B, C, H, W).
        pool: side to which feature maps are averaged.

    Returns:
        (B, F): of a feature map its means over ``pool`` x ``pool`` parts; of tokens their mean.

    Raises:
        ValueError: no such stage, or none whose output can be found.
    """
    following = _first_of(encoder, stage + 1)
    found: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, given: found.append(given[0]))
        for module in following
    ]
    try:
        run(image)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError(f"stage {stage} of {_name(encoder)} has no output that can be read")
    return _pooled(found[0], pool)


def stage_maps(
    encoder: Any, run: Callable[[Tensor], Any], image: Tensor, most: int = 4
) -> list[Tensor]:
    """Feature maps at several depths of one pass, evenly spaced, the deepest included.

    Args:
        encoder: encoder whose stages are read.
        run: function that passes images through the encoder.
        image: (B, C, H, W).
        most: number of depths; an encoder of fewer stages has fewer.

    Returns:
        Maps (B, F, h, w), or tokens (B, P, F), of what enters the stages after them.

    Raises:
        ValueError: there is no stage whose output can be read.
    """
    last = len(encoder.layer_groups) - 1
    depths = sorted({1 + i * (last - 1) // max(1, most - 1) for i in range(most)} if last else ())
    found: dict[int, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, given, depth=depth: found.update({depth: found.get(depth, given[0])})
        )
        for depth in depths
        for module in _first_of(encoder, depth)
    ]
    try:
        run(image)
    finally:
        for hook in hooks:
            hook.remove()
    maps = [found[depth] for depth in sorted(found) if found[depth].ndim in (3, 4)]
    if not maps:
        raise ValueError(f"{_name(encoder)} has no stage whose output can be read")
    return maps


def _first_of(encoder: Any, stage: int) -> list[nn.Module]:
    """Modules all of whose parameters belong to a stage, the largest ones."""
    groups = encoder.layer_groups
    if not 0 < stage < len(groups):
        last = len(groups) - 2
        numbers = f"0 to {last}" if last >= 0 else "none"
        raise ValueError(f"stage {stage - 1} of {_name(encoder)}: choose {numbers}")
    own = set(groups[stage])
    within = {
        name: module
        for name, module in encoder.backbone.named_modules()
        if (held := {n for n, _ in module.named_parameters(prefix=name)}) and held <= own
    }
    return [m for name, m in within.items() if name.rpartition(".")[0] not in within]


def _pooled(x: Tensor, pool: int) -> Tensor:
    if x.ndim == 4:  # (B, C, h, w)
        return F.adaptive_avg_pool2d(x, min(pool, x.shape[-1])).flatten(1)
    return x.mean(1) if x.ndim == 3 else x.flatten(1)


def _name(encoder: Any) -> str:
    return str(encoder.architecture["name"])
