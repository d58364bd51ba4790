"""Kernels that a step starts, and the bytes that they move through a device's memory."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

NOTHING = ("empty", "new_empty", "set_", "resize_", "is_", "record_", "_has", "lift_fresh", "alias",
           "_unsafe_view", "_reshape_alias", "sym_", "prim")  # fmt: skip


class Kernels:
    """Counter of operations that do work on a device, each as one kernel.

    An operation reads its arguments once and writes its results once: nothing stays in a cache
    between two of them, nothing is fused. Views, and memory that is only taken, cost nothing.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self.started = self.moved = self.convolved = 0

    def note(self, func: Any, given: Any, results: list[Tensor], flops: int) -> None:
        """Count an operation.

        Args:
            func: torch's operation.
            given: its arguments.
            results: tensors that it returns.
            flops: its operations of products; 0 for any other.
        """
        if not _works(func):
            return
        self.started += 1
        self.moved += sum(map(_bytes, (*operands(given), *results)))
        self.convolved += flops if func.__name__.startswith("convolution") else 0


@cache
def _works(func: Any) -> bool:
    """True of an operation that does work on a device."""
    named = func.__name__.startswith(NOTHING)
    return not func.is_view and func.namespace == "aten" and not named


def operands(given: Any) -> list[Tensor]:
    """Tensors among an operation's arguments or results, in the nestings that operations have."""
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, dict):
        given = given.values()
    elif not isinstance(given, list | tuple):
        return []
    return [tensor for part in given for tensor in operands(part)]


def _bytes(tensor: Tensor) -> int:
    """Bytes that a tensor has in memory: one that is expanded has fewer than elements."""
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())
