"""Kernels that a step starts, and the bytes that they move through a device's memory."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from genlab.internals import torch_parts

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
        if func.is_view or func.namespace != "aten" or func.__name__.startswith(NOTHING):
            return
        tensors = [t for t in torch_parts.tree_leaves(given) if isinstance(t, Tensor)]
        self.started += 1
        self.moved += sum(_bytes(tensor) for tensor in (*tensors, *results))
        self.convolved += flops if func.__name__.startswith("convolution") else 0


def _bytes(tensor: Tensor) -> int:
    """Bytes that a tensor has in memory: one that is expanded has fewer than elements."""
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())
