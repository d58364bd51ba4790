"""The first module and tensor of a step that are not finite."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor, nn

from genlab.internals import torch_parts


class FirstTensor:
    """Watches a step: a batch, outputs of modules in their order, losses, gradients backwards.

    Watching changes no bit of what it sees.

    Args:
        method: module whose parts are watched while this is open as a context.
        odd: names of buffers that are meant not to be finite, as masks are.

    Attributes:
        name: ``MODULE: KIND`` of the first tensor that is not finite; empty for none.
        looks: number of looks until then; the same on every rank for the same place.
    """

    def __init__(self, method: nn.Module, odd: Collection[str] = ()) -> None:
        self.method, self.odd, self.name, self.looks = method, odd, "", 0
        self._hooks = ExitStack()

    def __enter__(self) -> FirstTensor:
        for name, tensor in (*self.method.named_parameters(), *self.method.named_buffers()):
            if name not in self.odd:
                self.see(f"{name}: weights", tensor)
        for name, part in self.method.named_modules():
            where = f"{name} ({type(part).__name__})" if name else type(part).__name__
            for hook in (
                part.register_forward_pre_hook(partial(self._enters, where), with_kwargs=True),
                part.register_forward_hook(partial(self._leaves, where)),
            ):
                self._hooks.callback(hook.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def see(self, name: str, found: Any) -> None:
        """Look at tensors, nested or not."""
        self.looks += not self.name
        if not self.name and any(not bool(t.isfinite().all()) for t in _floating(found)):
            self.name = name

    def see_gradients(self) -> None:
        """Look at the gradients of all parameters, those nearest to the loss first."""
        for name, p in reversed(list(self.method.named_parameters())):
            if p.grad is not None:
                self.see(f"{name}: gradient", p.grad)

    def _enters(self, where: str, _: nn.Module, given: Any, named: Any) -> None:
        self.see(f"{where}: input", (given, named))

    def _leaves(self, where: str, _: nn.Module, given: Any, output: Any) -> None:
        self.see(f"{where}: output", output)
        for tensor in _floating(output):
            if tensor.requires_grad:
                tensor.register_hook(partial(self.see, f"{where}: gradient of the output"))


def _floating(found: Any) -> Iterable[Tensor]:
    leaves = torch_parts.tree_leaves(found)
    return (t for t in leaves if isinstance(t, Tensor) and t.is_floating_point())
