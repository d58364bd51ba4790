"""Numbers among tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def as_tensor_of(like: Tensor, value: Tensor | float) -> Tensor:
    """A value in the type and on the device of a tensor; a GPU makes a number there itself.

    A copy from Python to a GPU would wait for all of its pending work.
    """
    if isinstance(value, Tensor):
        return value.to(like)
    return torch.full((), value, dtype=like.dtype, device=like.device)


def precise(x: Tensor) -> Tensor:
    """A tensor in float32 at least, under any autocast: half precision is widened."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
