"""Precision of float32 products: TensorFloat-32 on a GPU, and its rounding on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward"}
DROPPED = 13  # of the 23 bits of a float32's fraction


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """While it lasts, matrix products and convolutions of a GPU are in TensorFloat-32, or not.

    By torch's older switches: Lightning asks for them, and torch refuses to answer once a newer one
    (``fp32_precision``) has been set.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high" if on else "highest")
        torch.backends.cudnn.allow_tf32 = on
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@contextmanager
def rounded(dropped: int = DROPPED) -> Iterator[None]:
    """While it lasts, operands of products lose their last bits, as TensorFloat-32 has them."""
    with _Rounded(dropped):
        yield


class _Rounded(TorchDispatchMode):
    def __init__(self, dropped: int) -> None:
        super().__init__()
        self.dropped = dropped

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func.overloadpacket.__name__ in PRODUCTS:
            args = [self._of(value) for value in args]
        return func(*args, **(kwargs or {}))

    def _of(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        half = 1 << (self.dropped - 1)
        bits = value.contiguous().view(torch.int32)
        return (bits.add(half).bitwise_and(-(1 << self.dropped))).view(torch.float32)
