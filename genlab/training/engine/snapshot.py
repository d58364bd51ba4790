"""Copies of tensors, and the way back to them without asking a device for a value."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from genlab.internals import torch_parts

BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of an element


class Snapshot:
    """The values of some tensors at one moment, kept in memory that is allocated once.

    Tensors are seen as integers of their width, so that a copy is chosen by arithmetic that knows
    no NaN, a few kernels for all tensors of a width.
    """

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._groups: list[tuple[list[Tensor], list[Tensor]]] = []  # now, then
        self._views: list[tuple[list[Tensor], list[Tensor]]] = []  # the same of shared memory

    def take(self, tensors: Iterable[Tensor]) -> None:
        """Keep the present values."""
        found = [t.detach() if t.requires_grad else t for t in tensors if t.numel()]
        key = tuple((address(t), t.dtype, t.shape, t.stride()) for t in found)
        if key != self._key:
            memory = [memory_of(t) for t in found]
            shared = {address for address, count in Counter(memory).items() if count > 1}
            of_own = [address not in shared for address in memory]
            self._key = key
            self._groups = _grouped([t for t, own in zip(found, of_own, strict=True) if own])
            self._views = _grouped([t for t, own in zip(found, of_own, strict=True) if not own])
        for now, then in (*self._groups, *self._views):
            torch_parts.foreach_copy_(then, now)

    def copies(self) -> list[Tensor]:
        """The kept values, in memory of their own."""
        return [t for _, then in (*self._groups, *self._views) for t in then]

    def put_back(self) -> None:
        """Set the tensors to the values that were kept."""
        for now, then in (*self._groups, *self._views):
            torch_parts.foreach_copy_(now, then)

    def put_back_where(self, flag: Tensor) -> None:
        """The same where a flag is true: () bool, on the tensors' device. What was kept is lost."""
        for now, then in self._groups:
            back = flag.to(now[0].dtype)
            torch_parts.foreach_mul_(now, 1 - back)
            torch_parts.foreach_mul_(then, back)
            torch_parts.foreach_add_(now, then)
        for now, then in self._views:  # one by one: a sum would be taken twice
            for tensor, old in zip(now, then, strict=True):
                tensor.copy_(torch.where(flag, old, tensor))


def address(tensor: Tensor) -> object:
    """Place of a tensor's first element."""
    return tensor.data_ptr()


def memory_of(tensor: Tensor) -> int:
    """Place of the memory that a tensor may share with others."""
    return tensor.untyped_storage().data_ptr()


def _grouped(tensors: list[Tensor]) -> list[tuple[list[Tensor], list[Tensor]]]:
    by_width = defaultdict[tuple[torch.device, int], list[Tensor]](list)
    for tensor in tensors:
        real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        width = real.element_size()
        by_width[real.device, width].append(real.view(BITS[width]))
    return [(now, [torch.empty_like(t) for t in now]) for now in by_width.values()]
