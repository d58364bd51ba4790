"""Weights of one geometry for a model of another: timm's own functions on an existing model."""

from __future__ import annotations

import inspect
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from timm.layers import resample_patch_embed
from timm.models import adapt_input_conv
from torch import Tensor, nn

_FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")  # timm's names


def classifiers(model: nn.Module) -> tuple[str, ...]:
    """Names of the model's classifier modules, also when it was built without; timm says which."""
    named = _cfg(model).get("classifier") or ()
    return (named,) if isinstance(named, str) else tuple(named)


def resized(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state dict with the model's names, image size, patch size and input channels.

    timm's filter of the model's family renames older layouts and resamples position embeddings,
    patch embeddings and relative position tables (bicubic); a first convolution over patches is
    resampled in every family (FlexiViT's pseudo-inverse, Beyer et al. 2022, arXiv:2212.08013), and
    a first convolution over other channels follows `timm.models.adapt_input_conv`: one channel
    gets the sum over the file's, more get them repeated and scaled by old / new.

    Args:
        state: names as in timm or as in the repository that the family comes from.
        model: of the wanted geometry.
    """
    rename = _filter(model)
    if rename is not None:
        with _quiet():
            state = rename(dict(state), model)
    with _quiet():
        return state | dict(_first_convolutions(state, model))


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
    first = _cfg(model).get("first_conv")
    if first is None:
        convolutions = (n for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
        first = next(convolutions, ())
    return [f"{name}.weight" for name in ((first,) if isinstance(first, str) else first)]


def _filter(model: nn.Module) -> Callable[..., dict[str, Tensor]] | None:
    """Timm's function that brings a foreign state dict to the model's family, where it has one."""
    for kind in type(model).__mro__:
        module = sys.modules.get(kind.__module__)
        if not kind.__module__.startswith("timm."):
            continue
        found = next((getattr(module, name) for name in _FILTERS if hasattr(module, name)), None)
        if found is not None:
            return found if len(inspect.signature(found).parameters) > 1 else _of_two(found)
    return None


def _of_two(function: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    return lambda state, _: function(state)


def _cfg(model: nn.Module) -> dict[str, Any]:
    return getattr(model, "pretrained_cfg", None) or {}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what timm logs of each resampled tensor, and without warnings of its indexing."""
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
