"""Freezing of a backbone's first stages."""

from __future__ import annotations

from typing import Any

from timm.models import group_parameters
from torch import nn


def layer_groups(backbone: Any) -> list[list[str]]:
    """Names of the parameters, stage by stage: the stem first, a last norm at the end.

    A stage is what the network's ``group_matcher`` calls a coarse group: a ResNet's layer, a
    ViT's block.
    """
    if not hasattr(backbone, "group_matcher"):
        return [[name for name, _ in backbone.named_parameters()]]
    groups = group_parameters(backbone, backbone.group_matcher(coarse=True))
    return [groups[i] for i in sorted(groups)]


def freeze(backbone: nn.Module, stages: int | str) -> set[str]:
    """Stop training of the first stages.

    Args:
        backbone: any network of genlab.
        stages: number of stages, the stem being the first; or ``all``.

    Returns:
        Names of the modules that contain only frozen parameters: to be kept in eval mode, so
        that batch norm keeps its statistics and dropout stays off.

    Raises:
        ValueError: more stages than there are, or fewer than none.
    """
    groups = layer_groups(backbone)
    count = isinstance(stages, int) and not isinstance(stages, bool)
    if stages != "all" and not (count and 0 <= int(stages) <= len(groups)):
        raise ValueError(f"freeze must be 0 to {len(groups)} stages or 'all', got {stages!r}")
    names = {n for group in groups[: None if stages == "all" else int(stages)] for n in group}
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(name not in names and parameter.requires_grad)
    if stages == "all":
        return {""}
    return {
        name
        for name, module in backbone.named_modules()
        if (own := [n for n, _ in module.named_parameters(prefix=name)]) and names.issuperset(own)
    }
