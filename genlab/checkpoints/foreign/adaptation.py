"""Weights of one geometry for a model of another: timm's own functions on an existing model."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

import torch
from timm.layers import (
    ScaledStdConv2d,
    ScaledStdConv2dSame,
    StdConv2d,
    StdConv2dSame,
    resample_patch_embed,
)
from timm.models import adapt_input_conv
from torch import Tensor, nn

from genlab.internals import timm_parts

_POSITIONS = re.compile(r"pos_emb|position_emb|rel_pos|relative_position_bias_table|attention_bias")
_STANDARDISING = (StdConv2d, StdConv2dSame, ScaledStdConv2d, ScaledStdConv2dSame)
_STUMBLES = (KeyError, AttributeError, RuntimeError, ValueError, AssertionError, IndexError)


def classifiers(model: nn.Module) -> tuple[str, ...]:
    """Names of the model's classifier modules, also when it was built without; timm says which."""
    named = _cfg(model).get("classifier") or ()
    return (named,) if isinstance(named, str) else tuple(named)


def resized(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state dict with the patch size and input channels of the model.

    A first convolution over patches is resampled in every family (FlexiViT's pseudo-inverse, Beyer
    et al. 2022, arXiv:2212.08013), and a first convolution over other channels follows
    `timm.models.adapt_input_conv`: one channel gets the sum over the file's, more get them repeated
    and scaled by old / new.

    Args:
        state: names as in timm, see `renamed`.
        model: model of the wanted geometry.
    """
    with suppress(*_STUMBLES), quiet():
        state = state | dict(_first_convolutions(state, model))
    return state


def renamed(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state dict with the model's names and image size.

    timm's filter of the model's family renames older layouts and resamples position embeddings,
    patch embeddings and relative position tables (bicubic).

    Args:
        state: names as in timm or as in the repository that the family comes from.
        model: model of the wanted geometry.
    """
    state = _without_distillation(state, model)
    own_filter = getattr(model, "adapted", None)  # of a network of genlab
    state = own_filter(state) if own_filter is not None else state
    rename = timm_parts.state_dict_filter(model)
    if rename is not None:  # a family's own conversion stumbles over another family's names
        with suppress(*_STUMBLES), quiet():
            state = rename(dict(state), model)
    return state


def standardised(state: dict[str, Tensor], model: nn.Module) -> dict[str, tuple[int, int]]:
    """First convolutions that standardise their kernel, of other channels in a file than here.

    Standardisation divides by the deviation over all channels: of their sum it is another one, so
    that no kernel of other channels has the same answers.

    Args:
        state: names as in timm, see `renamed`.
        model: model of the wanted geometry.

    Returns:
        Channels in the file and here, by the name of the weights.
    """
    own = dict(model.named_parameters())
    pairs = {
        name: (state[name].shape[1], own[name].shape[1])
        for name in _input_weights(model)
        if isinstance(model.get_submodule(name.rpartition(".")[0]), _STANDARDISING)
        and name in state
        and state[name].ndim == 4
    }
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}


def sees_image(model: nn.Module) -> list[str]:
    """Names of the first layer's weights and of position embeddings.

    They are few, but where they are fresh all other weights see noise.
    """
    positions = [n for n, _ in model.named_parameters() if _POSITIONS.search(n)]
    return [*_input_weights(model), *positions]


def is_small_stem(model: nn.Module, name: str, weight: Tensor | None) -> bool:
    """True if a first convolution is smaller than the file's on purpose: 3x3 at stride 1, for 7x7.

    No resampling makes one of the other, as the small one sees each pixel of a small image.
    """
    layer = model.get_submodule(name.removesuffix(".weight")) if name.endswith(".weight") else None
    if not isinstance(layer, nn.Conv2d) or weight is None or weight.ndim != 4:
        return False
    return layer.stride == (1, 1) and layer.kernel_size[0] < weight.shape[2]


def _without_distillation(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Without the position of DeiT's distillation token, the second, where the model has none."""
    positions = state.get("pos_embed")
    if "dist_token" not in state or hasattr(model, "dist_token") or positions is None:
        return state
    return state | {"pos_embed": torch.cat([positions[:, :1], positions[:, 2:]], 1)}


def _first_convolutions(state: dict[str, Tensor], model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    convolutions = {f"{n}.weight": m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    for name in _input_weights(model):
        if name not in state or state[name].ndim != 4 or name not in convolutions:
            continue
        layer = convolutions[name]
        weight, wanted = state[name], layer.weight.shape
        if weight.shape[2:] != wanted[2:] and layer.kernel_size == layer.stride:  # patches
            weight = resample_patch_embed(weight, list(wanted[2:]))
        if weight.shape[1] != wanted[1] and weight.shape[2:] == wanted[2:]:
            weight = _for_channels(weight, wanted[1])
        yield name, weight


def _for_channels(weight: Tensor, channels: int) -> Tensor:
    """(O, I, H, W) -> (O, ``channels``, H, W) with the same answer to equal channels."""
    base = weight.shape[1]
    if base == 3:
        return adapt_input_conv(channels, weight)
    if channels == 1:
        return weight.sum(1, keepdim=True)
    return weight.repeat(1, -(-channels // base), 1, 1)[:, :channels] * (base / channels)


def _input_weights(model: nn.Module) -> list[str]:
    """Names of the weights that see the image: timm says which, else the first convolution's."""
    told = _cfg(model).get("first_conv") or ()
    own = dict(model.named_parameters())
    names = [f"{name}.weight" for name in ((told,) if isinstance(told, str) else told)]
    first = (f"{n}.weight" for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    return [name for name in names if name in own] or [*islice(first, 1)]


def _cfg(model: nn.Module) -> dict[str, Any]:
    return getattr(model, "pretrained_cfg", None) or {}


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress timm's log of each resampled tensor and the warnings of its indexing."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in (r"torch.searchsorted\(\)", "Using a non-tuple sequence"):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        logger.setLevel(level)
