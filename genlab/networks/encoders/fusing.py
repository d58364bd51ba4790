"""Batch norm folded into the convolution before it: the same function with fewer operations.

For inference only. The batch norm that follows a convolution is not guessed from names or order:
one pass over shapes finds which module uses which output, and whether anything else uses it.
"""

from __future__ import annotations

import collections
import copy
from typing import Any

import timm.layers
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode

from genlab.internals import torch_parts
from genlab.networks.encoders.backbones import on_meta

CONVOLUTIONS = (nn.Conv2d, timm.layers.Conv2dSame)  # exactly: others rescale their weights


def fuse_conv_bn(module: nn.Module) -> nn.Module:
    """A copy in eval mode with every batch norm folded that directly follows one convolution.

    Args:
        module: an encoder, a backbone, or anything that contains encoders. A ConvNeXt, a ViT or
            another network without such pairs comes back as it is, copied.

    Returns:
        The copy. A folded batch norm leaves its activation (timm's kind has one), else an identity.

    Raises:
        ValueError: neither a network of `networks.encoder` nor a module that contains one.
    """
    fused = copy.deepcopy(module).eval()
    networks = [m for m in fused.modules() if hasattr(m, "image_shape")]
    if not networks:
        raise ValueError(f"{type(module).__name__} contains no network made by networks.encoder")
    for network in networks:
        shape: Any = network.image_shape
        for conv, name in _pairs(network, torch.zeros(2, *shape, device="meta")):
            norm = network.get_submodule(name)
            _fold(conv, norm)
            network.set_submodule(name, _behind(norm))
    return fused


class _Uses(TorchFunctionMode):
    """Counts the functions that make tensors out of each of the watched ones."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: dict[int, Tensor] = {}  # by id; held, so that no id is given twice
        self.count = collections.Counter[int]()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if any(isinstance(leaf, Tensor) for leaf in torch_parts.tree_leaves(out)):
            for leaf in torch_parts.tree_leaves((args, kwargs)):
                if id(leaf) in self.watched:
                    self.count[id(leaf)] += 1
        return out


def _pairs(network: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, str]]:
    """Convolutions, and the name of the batch norm that alone takes each one's output."""
    uses, made_by, pairs = _Uses(), dict[int, nn.Conv2d](), list[tuple[int, str]]()
    calls = collections.Counter[nn.Module]()

    def after_conv(conv: nn.Conv2d, args: Any, out: Tensor) -> None:
        uses.watched[id(out)], made_by[id(out)] = out, conv
        calls[conv] += 1

    def before_norm(norm: nn.Module, args: tuple[Tensor]) -> None:
        calls[norm] += 1
        if id(args[0]) in made_by:
            pairs.append((id(args[0]), names[norm]))

    names = {module: name for name, module in network.named_modules()}
    hooks = []
    for module in names:
        if type(module) in CONVOLUTIONS:
            hooks.append(module.register_forward_hook(after_conv))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(before_norm))
    try:
        with uses:
            on_meta(network, image)
    finally:
        for hook in hooks:
            hook.remove()
    return [
        (made_by[out], name)
        for out, name in pairs
        if uses.count[out] == calls[made_by[out]] == calls[network.get_submodule(name)] == 1
    ]


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: Any) -> None:
    statistics = norm.running_mean, norm.running_var, norm.eps
    affine = norm.weight, norm.bias
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics, *affine)


def _behind(norm: nn.Module) -> nn.Module:
    """What is left of a batch norm without its norm: timm's has an activation."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()
