"""Reads of tensors' values by Python, each of which would wait for an accelerator, seen on a CPU.

`noted` lists them, `refused` raises at the first. What a GPU itself says is
``torch.cuda.set_sync_debug_mode``.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.internals import torch_parts

TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)  # by torch's own table
LOOKS = ("is_nonzero",)  # which the table lacks
FETCHES = ("cpu", "numpy", "tolist", "item")
CONSTANTS = ("tensor", "as_tensor", "new_tensor")  # of Python's numbers: copies that wait
FACTORIES = (
    "arange",
    "eye",
    "zeros",
    "ones",
    "full",
    "empty",
    "linspace",
    "rand",
    "randn",
    "randint",
    "randperm",
)  # without a device they lie on the CPU
COUNTER = "/torch/optim/"  # where steps are counted
MODES = ("genlab/testing/host_reads", "/torch/overrides", "/torch/_", "/torch/utils/_")


class HostRead(RuntimeError):
    """A step read a tensor's value, and would wait for an accelerator."""


class _Noting:
    """A mode of torch that notes operations.

    Args:
        seen: their names are added here.
        refuse: raise at the first.
    """

    def __init__(self, seen: list[str], refuse: bool = False) -> None:
        super().__init__()
        self.seen, self.refuse = seen, refuse

    def note(self, what: str) -> None:
        """Add an operation and its place, unless torch counts steps, which it does on the CPU."""
        stack = reversed(traceback.extract_stack())
        reader = next(one for one in stack if not any(part in one.filename for part in MODES))
        if COUNTER in reader.filename:
            return
        self.seen.append(f"{what} in {_caller()}")
        if self.refuse:
            raise HostRead(self.seen[-1])


class Looking(_Noting, TorchDispatchMode):
    """Notes operations whose result, or its shape, depends on values that Python must see."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name, given = func.overloadpacket.__name__, kwargs or {}
        if name.startswith("index") and len(args) > 1 and isinstance(args[1], list | tuple):
            for one in args[1]:
                if one is not None and one.dtype in (torch.bool, torch.uint8):
                    self.note(f"{name} by a mask")
        elif given.get("output_size") is not None:
            pass  # repeat_interleave that is told its size
        elif name in LOOKS or any(tag in func.tags for tag in TAGS):
            self.note(name)
        return func(*args, **given)


class Fetching(_Noting, TorchFunctionMode):
    """Notes copies to the CPU, which do nothing on a CPU and wait elsewhere.

    Args:
        seen: their names are added here.
        refuse: raise at the first.
        constants: also tensors made of Python's numbers, or without a device, which are copied
            from the CPU.
    """

    def __init__(self, seen: list[str], refuse: bool = False, constants: bool = False) -> None:
        super().__init__(seen, refuse)
        self.constants = constants

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name, given = getattr(func, "__name__", ""), kwargs or {}
        fetches = name in FETCHES and bool(args) and isinstance(args[0], Tensor)
        to_cpu = name == "to" and "cpu" in map(str, [*args[1:], *given.values()])
        if fetches or (to_cpu and not given.get("non_blocking")):
            self.note(f"Tensor.{name}")
        elif self.constants and name in CONSTANTS and not _is_made(args):
            self.note(f"torch.{name} of numbers")
        elif self.constants and name in FACTORIES and given.get("device") is None:
            self.note(f"torch.{name} on the CPU")
        return func(*args, **given)


@contextmanager
def noted(seen: list[str], constants: bool = False) -> Iterator[None]:
    """While it lasts, reads are added to ``seen``, on tensors that say they lie on a GPU."""
    with Fetching(seen, constants=constants), Looking(seen), as_on_a_gpu():
        yield


@contextmanager
def refused() -> Iterator[None]:
    """While it lasts, a read is a `HostRead`, as ``set_sync_debug_mode("error")`` has it."""
    with Fetching([], refuse=True), Looking([], refuse=True), as_on_a_gpu():
        yield


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Tensors say that they lie on a GPU: what is looked at on a CPU only is not looked at."""
    cuda = mock.patch.object(torch.Tensor, "is_cuda", property(lambda tensor: True), create=True)
    with cuda, mock.patch.object(torch_parts, "on_host", elsewhere):
        yield


def elsewhere(tensor: Tensor) -> bool:
    """No tensor lies on the host; a mock's own answer would keep every tensor alive."""
    return False


def _is_made(args: Sequence[Any]) -> bool:
    """True of ``as_tensor`` of what is a tensor."""
    return bool(args) and isinstance(args[0], Tensor) and len(args) == 1


def _caller() -> str:
    """The innermost line of code that is neither a library's nor a law's."""
    outside = ("site-packages", "genlab/testing/", "<", "contextlib")
    for frame in reversed(traceback.extract_stack()):
        if not any(part in frame.filename for part in outside):
            return f"{Path(frame.filename).name}:{frame.lineno}"
    return "a library"
