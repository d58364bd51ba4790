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
