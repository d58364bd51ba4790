"""Check of gradients for NaN and infinity, at the price of one pass over them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genlab.internals import torch_parts


def gradients_finite(gradients: list[Tensor], norm: Tensor | None = None) -> bool:
    """True if every element is finite; on a CPU at the price of one sum.

    Args:
        gradients: gradients of an optimiser's parameters.
        norm: their norm, if it is known. It overflows before they do.
    """
    if not gradients:
        return True
    if norm is not None:
        return math.isfinite(norm) or bool(all_finite(gradients))
    total = torch.stack([g.sum().float() for g in gradients]).sum()
    return math.isfinite(total) or bool(all_finite(gradients))


def all_finite(tensors: list[Tensor]) -> Tensor:
    """() bool: True if all elements of all tensors are finite; nothing overflows."""
    filled = [tensor for tensor in tensors if tensor.numel()]  # the norm of nothing is an error
    if not filled:
        return torch.ones((), dtype=torch.bool)
    most = torch_parts.foreach_norm(filled, math.inf)
    return torch.stack([m.float() for m in most]).isfinite().all()


def is_finite(tensor: Tensor) -> bool:
    """True if every element is finite; integers are."""
    return bool(tensor.isfinite().all()) if tensor.is_floating_point() else True
