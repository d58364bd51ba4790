"""Parameter groups: weight decay and share of the learning rate of each parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from types import SimpleNamespace
from typing import Any

from timm.models import group_parameters
from torch import nn

from genlab.errors import nearest

NORM = re.compile(r"Norm(Act)?(\dd)?$")  # LayerNorm, BatchNorm2d, BatchNormAct2d, ActNorm ...

PATCH_EMBED = "patch_embed"  # timm's name in ViTs


def parameter_groups(
    module: nn.Module,
    lr: float,
    weight_decay: float,
    lr_scale: dict[str, float] | None = None,
    layer_decay: float | None = None,
    fixed_lr: Iterable[str] = (),
    part: str | Sequence[str] | None = None,
    spared_lr: float = 1.0,
    patch_embed_lr: float = 1.0,
    spare: bool = True,
) -> list[dict[str, Any]]:
    """Trainable parameters grouped by learning rate and by whether they decay.

    Args:
        module: the method.
        lr: the learning rate that factors multiply.
        weight_decay: weight decay of the groups that decay.
        lr_scale: factor for each named child of the method.
        layer_decay: factor for each layer of ``module.encoder.backbone``, counted from the head.
        fixed_lr: named children of the method whose learning rate no schedule touches.
        part: child, or children, whose parameters are taken; None for all.
        spared_lr: factor for what weight decay spares.
        patch_embed_lr: factor for the patch embedding of ``module.encoder``, times its layer's.
        spare: False to decay all parameters.

    Returns:
        Groups with ``params``, ``lr``, ``weight_decay``, ``spared`` (from the decay) and
        ``fixed_lr``; that of the plain ``lr`` which decays is the first, if there is such a group.
    """
    plain = undecayed(module) if spare else set[str]()
    scales = _scales(module, lr_scale or {}, layer_decay, patch_embed_lr)
    part = (part,) if isinstance(part, str) else part
    fixed, groups = set(fixed_lr), dict[tuple[bool, float, bool], list[nn.Parameter]]()
    for name, parameter in module.named_parameters():
        child = name.partition(".")[0]
        if parameter.requires_grad and (part is None or child in part):
            scale = scales[name] * (spared_lr if name in plain else 1.0)
            key = (child in fixed, scale, name in plain)
            groups.setdefault(key, []).append(parameter)
    order = sorted(groups, key=lambda key: (key[0], key[1] != 1.0, -key[1], key[2]))
    return [
        {
            "params": groups[constant, scale, spared],
            "lr": lr * scale,
            "weight_decay": 0.0 if spared else weight_decay,
            "spared": spared,
            "fixed_lr": constant,
        }
        for constant, scale, spared in order
    ]


def undecayed(module: nn.Module) -> set[str]:
    """Names of the parameters that weight decay spares.

    One-dimensional ones, also where they are written (1, 1, C), and biases; all of a norm whatever
    its shape; and those that a submodule's own ``no_weight_decay()`` names (timm's ViTs: position
    embeddings, class tokens; Swin: tables of relative positions). A filter by "bias" and "bn"
    misses the norms inside ``downsample`` of a ResNet and every LayerNorm scale of a ViT.
    """
    found = {n for n, p in module.named_parameters() if _is_vector(p) or n.endswith(".bias")}
    for path, child in module.named_modules():
        prefix = f"{path}." if path else ""
        if NORM.search(type(child).__name__):
            found |= {prefix + name for name, _ in child.named_parameters(recurse=False)}
        patterns: set[str] = getattr(child, "no_weight_decay", set)()
        if patterns:
            found |= {
                prefix + name
                for name, _ in child.named_parameters()
                if any(fnmatch(name, pattern) for pattern in patterns)
            }
    return found


def _is_vector(p: nn.Parameter) -> bool:
    return p.ndim <= 1 or (p.ndim >= 3 and p.numel() == max(p.shape))


def _scales(
    module: nn.Module,
    lr_scale: dict[str, float],
    layer_decay: float | None,
    patch_embed_lr: float,
) -> dict[str, float]:
    """The factor of every parameter: its part's, times its layer's and the patch embedding's."""
    check_parts(module, lr_scale, layer_decay)
    scales = {n: lr_scale.get(n.partition(".")[0], 1.0) for n, _ in module.named_parameters()}
    if layer_decay is not None:
        for name, factor in layer_scales(module.encoder.backbone, layer_decay).items():  # type: ignore[union-attr]
            scales[f"encoder.backbone.{name}"] *= factor
    if patch_embed_lr != 1.0:
        check_patch_embed(module)
        first = [name for name in scales if name.startswith(f"encoder.backbone.{PATCH_EMBED}.")]
        scales |= {name: scales[name] * patch_embed_lr for name in first}
    return scales


def check_patch_embed(module: nn.Module) -> None:
    """Check that the method's encoder embeds patches.

    Raises:
        ValueError: it does not.
    """
    if not hasattr(getattr(getattr(module, "encoder", None), "backbone", None), PATCH_EMBED):
        raise ValueError("optimizer.patch_embed_lr requires an encoder of patches, such as a ViT")


def check_parts(
    module: nn.Module,
    lr_scale: dict[str, float] | None,
    layer_decay: float | None,
    setting: str = "lr_scale",
) -> None:
    """Check that the method has the parts named by the setting, and layers to decay over.

    Raises:
        ValueError: one is missing.
    """
    parts = dict.fromkeys(name.partition(".")[0] for name, _ in module.named_parameters())
    for part in lr_scale or {}:
        if part not in parts:
            raise ValueError(f"optimizer.{setting}: no part {part}; {nearest(part, parts)}")
    if layer_decay is not None and not hasattr(getattr(module, "encoder", None), "backbone"):
        raise ValueError("optimizer.layer_decay requires a method built on networks.encoder")


def layer_scales(backbone: Any, layer_decay: float) -> dict[str, float]:
    """The learning-rate factor of each parameter of a backbone, by its distance from the head.

    A backbone of L layers above its stem: stem ``layer_decay ** (L + 1)``, first block
    ``layer_decay ** L``, last block ``layer_decay``; a norm before the head moves with the last
    block or the head, as timm groups it, and the head, outside, with the full rate. As in BEiT
    (Bao et al. 2021, arXiv:2106.08254).

    Departures: every block of a ConvNeXt is a layer, as in timm, where its paper (Liu et al. 2022,
    arXiv:2201.03545) makes 12 groups of blocks. In a network that has no ``group_matcher`` each
    kernel opens a layer.
    """
    names = [name for name, _ in backbone.named_parameters()]
    if hasattr(backbone, "group_matcher"):
        # a name that no pattern matches stands for the head, which timm's model no longer has
        with_head: Any = SimpleNamespace(
            named_parameters=lambda: ((n, n) for n in [*names, "(head)"])
        )
        layer = group_parameters(with_head, backbone.group_matcher(coarse=False), reverse=True)
        top = layer["(head)"]
    else:
        layer, top = {}, 0
        for name, parameter in backbone.named_parameters():
            top += parameter.ndim > 1
            layer[name] = max(0, top - 1)
    return {name: layer_decay ** (top - layer[name]) for name in names}
