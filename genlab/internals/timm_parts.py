"""Private and undocumented parts of timm."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")


def inner_optimizer(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimiser that steps inside timm's Lookahead; any other one itself."""
    return getattr(optimizer, "_base_optimizer", optimizer)


def state_dict_filter(
    model: nn.Module,
) -> Callable[[dict[str, Tensor], nn.Module], dict[str, Any]] | None:
    """The function that brings a foreign state dict to the model's family, where it has one.

    timm hands it to its builder and keeps no reference: it is found by its name, in the module that
    defines the model's class.
    """
    for kind in type(model).__mro__:
        module = sys.modules.get(kind.__module__)
        if not kind.__module__.startswith("timm."):
            continue
        found = next((getattr(module, name) for name in FILTERS if hasattr(module, name)), None)
        if found is not None:
            return found if len(inspect.signature(found).parameters) > 1 else _of_two(found)
    return None


def _of_two(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    return lambda state, _: function(state)


def is_sync_batch_norm_act(module: nn.Module) -> bool:
    """True if ``timm.layers.convert_sync_batchnorm`` made it of a batch norm with activation.

    The class is not among ``timm.layers``' names.
    """
    from timm.layers.norm_act import SyncBatchNormAct

    return isinstance(module, SyncBatchNormAct)


def present_name(name: str) -> str:
    """The name under which timm knows a model now, of one that it had in former versions."""
    from timm.models import _registry

    return _registry._deprecated_models.get(name) or name


def positioned(vit: Any, patches: Tensor) -> tuple[Tensor, Tensor | None]:
    """Patches with a ViT's positions, its prefix tokens before them, and the rotary positions.

    Learnt positions are resampled to the grid, with gradient; timm does so only for networks that
    were made for images of any size.

    Args:
        vit: network for which `has_positioned` is true.
        patches: (B, h, w, D).

    Returns:
        (B, prefix + h w, D), and rotary positions (h w, ...), depth and heads before them where
        they are mixed; None without.
    """
    of_any_size, vit.dynamic_img_size = vit.dynamic_img_size, True
    try:
        found = vit._pos_embed(patches)
    finally:
        vit.dynamic_img_size = of_any_size
    return found if isinstance(found, tuple) else (found, None)


def has_positioned(network: nn.Module) -> bool:
    """True if `positioned` is for the network's class: timm's plain ViTs and EVAs."""
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    return isinstance(network, VisionTransformer | Eva) and hasattr(network, "_pos_embed")
