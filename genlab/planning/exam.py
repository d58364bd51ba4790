"""Search for faults in a step whose tensors have no values, operation by operation."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from genlab.internals import torch_parts
from genlab.planning.counting import BACKWARD, FORWARD, sent
from genlab.planning.reads import LOOKS, answer, place, short, unknown
from genlab.planning.watching import Enough

STOPS = ("wrong device", "deadlock")
WIDE = (torch.float64, torch.complex128)
COPIES = ("_to_copy", "copy_")
JOINS = ("stack", "cat", "gather", "scatter", "index_select", "embedding")  # of one device alone


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a step.

    Args:
        kind: ``wrong device``, ``float64``, ``host read``, ``host copy``, ``growth`` or
            ``deadlock``.
        what: tensor or collective, and what is wrong with it.
        where: file and line.
    """

    kind: str
    what: str
    where: str

    @property
    def stops(self) -> bool:
        """True if a training on GPUs ends or waits for ever; else it is slow only."""
        return self.kind in STOPS

    def __str__(self) -> str:
        return f"{self.kind} at {self.where}: {self.what}"


@dataclass(frozen=True)
class Exchange:
    """One call of a collective.

    Args:
        kind: ``all_reduce``, ``all_gather`` ...
        form: shapes and dtypes that a rank puts in.
        sent: bytes that it puts in.
        got: bytes that it gets.
        where: file and line.
    """

    kind: str
    form: str
    sent: int
    got: int
    where: str


class Exam(TorchDispatchMode):
    """Notes faults of operations, bytes that they make, and collectives.

    Args:
        device: device of the method's tensors; those on ``cpu`` stand for a GPU's.
        double: float64 is wanted.
    """

    def __init__(self, device: str = "cpu", double: bool = False) -> None:
        super().__init__()
        self.device, self.double = device, double
        self.phase = FORWARD
        self.batches = 0  # so far
        self.over = False  # the last step, but for what follows it in its batch
        self.faults: dict[tuple[str, str], Fault] = {}
        self.made: Counter[tuple[str, str]] = Counter()  # bytes by operation and place
        self.exchanges: list[Exchange] = []
        self.names: dict[int, tuple[str, str]] = {}  # of attributes, and their places
        self._places = WeakIdKeyDictionary()  # of what was made on the CPU

    @property
    def judges(self) -> bool:
        """True where a read or a float64 is a fault: on the CPU host and device look alike."""
        return bool(self.batches) and (self.device != "cpu" or self.phase == BACKWARD)

    @property
    def waits(self) -> bool:
        """True where Python must not wait: the first batch may make what is made once."""
        return self.judges and (self.device == "cpu" or self.batches > 1)

    def end(self) -> None:
        """End the training; what it tidies up is not examined."""
        self.batches = 0
        raise Enough

    def note(self, kind: str, what: str, where: str = "") -> None:
        """Keep a fault, the first of its kind at its place."""
        where = where or place()
        self.faults.setdefault((kind, where), Fault(kind, what, where))

    def begin(self, method: nn.Module) -> None:
        """Look at a method's own tensors."""
        for path, part in method.named_modules():
            for name, tensor in vars(part).items():
                if isinstance(tensor, Tensor):
                    self.names[id(tensor)] = f"{path}.{name}".strip("."), definition(part, name)
            own = {
                **dict(part.named_parameters(recurse=False)),
                **dict(part.named_buffers(recurse=False)),
            }
            for name, tensor in own.items():
                if tensor.dtype in WIDE and not self.double:
                    what = f"{path}.{name}".strip(".") + f" is a {form(tensor)}"
                    self.note("float64", what, definition(part, name))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        given = _tensors((args, kwargs))
        far = [tensor for tensor in given if self._is_far(tensor)]
        if name in LOOKS and (asked := far or [one for one in given if unknown(one)]):
            if far and self.waits:
                self.note("host read", f"Python waits for the value of a {form(far[0])}")
            return answer(name, asked[0])
        self._note_fetch(func, name, args, kwargs, far)
        out = self._run(func, name, args, kwargs, given)
        if func.namespace == "c10d":
            self._exchange(name, args)
        self._follow(name, given, _tensors(out))
        return out

    def _is_far(self, tensor: Tensor) -> bool:
        """True of a tensor that would lie on the GPU."""
        if self.device != "cpu":
            return tensor.device.type != "cpu"
        return unknown(tensor)

    def _note_fetch(
        self, func: Any, name: str, args: tuple[Any, ...], kwargs: Any, far: list[Tensor]
    ) -> None:
        if not self.waits:
            return
        if name in COPIES and self.device != "cpu" and not _asynchronous(args, kwargs):
            self._note_copy(name, args, kwargs)
        if not far:
            return
        if name.startswith("index") and isinstance(args[1], list | tuple):
            self._note_index(name, far[0], [one for one in args[1] if one is not None])
        elif torch.Tag.dynamic_output_shape in func.tags and kwargs.get("output_size") is None:
            self.note("host read", f"{name} waits to know the shape of its result")

    def _note_copy(self, name: str, args: tuple[Any, ...], kwargs: Any) -> None:
        """A copy between the CPU and the GPU, either way, for which Python waits."""
        goes = kwargs.get("device") if name == "_to_copy" else args[0].device
        comes = args[0] if name == "_to_copy" else args[1]
        there = comes.device if goes is None else torch.device(goes)
        if there.type == "cpu" and self._is_far(comes):
            self.note("host read", f"a {form(comes)} is copied to the CPU")
        elif there.type != "cpu" and not self._is_far(comes):
            self.note("host copy", f"a {form(comes)} of the CPU is copied to the GPU")

    def _note_index(self, name: str, whole: Tensor, by: list[Tensor]) -> None:
        """An index for which Python waits: a mask, or one that lies on the CPU."""
        if any(one.dtype == torch.bool for one in by) and name != "index_put":
            self.note("host read", f"{name} by a mask waits for the number of its entries")
        for one in by if self._is_far(whole) and self.device != "cpu" else ():
            if not self._is_far(one):
                what = f"{self._origin(one)} is an index, which is copied to the GPU"
                self.note("host copy", what)

    def _run(
        self, func: Any, name: str, args: tuple[Any, ...], kwargs: Any, given: list[Tensor]
    ) -> Any:
        """The operation; where devices differ, once more with all tensors on the GPU."""
        joins = name.removesuffix("_") in JOINS  # others take single numbers of the CPU
        near = [t for t in given if t.device.type == "cpu" and (t.dim() or joins)]
        try:
            if joins and self.device != "cpu" and 0 < len(near) < len(given):
                raise RuntimeError(name)  # as a GPU does
            return func(*args, **kwargs)
        except (DynamicOutputShapeException, DataDependentOutputException) as error:
            if not (self.batches and any(map(self._is_far, given))):
                raise
            self.note("host read", f"{name} waits for values")
            raise Enough from error  # nobody can say how it goes on
        except RuntimeError:
            if self.device == "cpu" or not near or len(near) == len(given):
                raise
        for tensor in near:
            self.note("wrong device", f"{self._origin(tensor)} meets one on the GPU in {name}")
        args, kwargs = torch_parts.tree_map(self._sent_there, (args, kwargs))
        return func(*args, **kwargs)

    def _sent_there(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return torch.empty(leaf.shape, dtype=leaf.dtype, device=self.device)

    def _origin(self, tensor: Tensor) -> str:
        name, made = self.names.get(id(tensor), ("", ""))
        if name:
            return f"{name}, a {form(tensor)} that is no buffer and stays on the CPU ({made}),"
        made = self._places.get(tensor, "")
        return f"a {form(tensor)} made on the CPU" + (f" at {made}" if made else "")

    def _exchange(self, name: str, args: tuple[Any, ...]) -> None:
        kind, given = sent(name, args)
        if self.device != "cpu" and any(t.device.type == "cpu" for t in given):
            what = f"{kind} of a {form(given[0])} that lies on the CPU, which NCCL refuses"
            self.note("wrong device", what)
        shapes = ", ".join(form(tensor) for tensor in given)
        got = sum(t.nbytes for t in _tensors(args[0]))
        size = sum(t.nbytes for t in given)
        self.exchanges.append(Exchange(kind, shapes, size, got, place()))

    def _follow(self, name: str, given: list[Tensor], made: list[Tensor]) -> None:
        """Note what a result is: too wide, on the CPU, new memory."""
        if self.judges and not self.double:
            wide = [t for t in given if t.dtype in WIDE and self._is_far(t)]
            for tensor in made if not wide else ():
                if tensor.dtype in WIDE and self._is_far(tensor):
                    self.note("float64", f"{name} makes a {form(tensor)} on the GPU")
        if self.device != "cpu":
            for tensor in made:
                if tensor.device.type == "cpu" and tensor not in self._places:
                    self._places[tensor] = place()
            return
        held = {id(tensor.untyped_storage()) for tensor in given}
        fresh = [t.nbytes for t in made if id(t.untyped_storage()) not in held]
        if fresh:
            way = " on the way back" if self.phase == BACKWARD else ""
            self.made[name + way, place()] += sum(fresh)


def definition(part: nn.Module, name: str) -> str:
    """File and line where a module's class names its tensor; the class's where it does not."""
    for kind in type(part).__mro__:
        if kind is nn.Module or kind.__module__ == "builtins":
            break
        try:
            lines, first = inspect.getsourcelines(kind)
            path = inspect.getsourcefile(kind) or ""
        except (OSError, TypeError):
            continue
        for number, line in enumerate(lines):
            if f'"{name}"' in line or f"self.{name} =" in line or f"'{name}'" in line:
                return f"{short(path)}:{first + number}"
    return f"{type(part).__module__}.{type(part).__qualname__}"


def form(tensor: Tensor) -> str:
    """Shape and dtype of a tensor."""
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')} tensor"


def _asynchronous(args: tuple[Any, ...], kwargs: Any) -> bool:
    return bool(kwargs.get("non_blocking")) or (len(args) > 2 and args[2] is True)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in torch_parts.tree_leaves(tree) if isinstance(leaf, Tensor)]
