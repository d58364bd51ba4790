"""Count of live bytes, operations and collectives in a training, whether its tensors are real."""

from __future__ import annotations

import inspect
import weakref
from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.internals import torch_parts
from genlab.planning.kernels import Kernels, operands
from genlab.planning.reads import LIBRARIES, LOOKS, OWN, SELECTS, all_of, answer, place, refusal
from genlab.planning.step import Collective

FORWARD, BACKWARD, OPTIMISER = "activations", "temporary", "optimiser"
SHORT = {"allreduce": "all_reduce", "allgather": "all_gather", "reduce_scatter": "reduce_scatter"}


class Counting(TorchDispatchMode):
    """Counter of what tensors do inside its context.

    Memory is that of storages: from the moment one appears as an operation's result until nothing
    refers to it. A kernel's own scratch memory is not seen.

    Args:
        world: number of ranks, for the record.
    """

    def __init__(self, world: int = 1) -> None:
        super().__init__()
        self.world = world
        self.phase = FORWARD
        self.part = "loss"  # of the method, that the operations belong to
        self.live: Counter[str] = Counter()
        self.peak: dict[str, int] = {}
        self.flops: Counter[str] = Counter()
        self.kernels = Kernels()
        self.collectives: Counter[tuple[str, str]] = Counter()
        self.payload: Counter[tuple[str, str]] = Counter()
        self.reads: list[str] = []  # places where Python asks for an unknown value
        self.validating = False  # reads are not of the step, and what values select is all
        self.callers: list[str] = []  # of collectives with gradient, for the way back
        self._seen: dict[int, tuple[weakref.ref[Any], int, str]] = {}
        self._total = self._most = 0

    def reset(self) -> None:
        """Start anew; what lives stays counted."""
        self.flops.clear()
        self.kernels.clear()
        self.collectives.clear()
        self.payload.clear()
        self._most = 0
        self._note_peak()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # a question, as for the device
            return func(*args, **kwargs)
        out = self._run(func, args, kwargs)
        tensors = operands(out)
        formula = torch_parts.flops_of(func)
        flops = 0 if formula is None else formula(*args, **kwargs, out_val=out)
        self.kernels.note(func, (args, kwargs), tensors, flops)
        if flops:
            self.flops[self.part] += flops
        elif self.phase == OPTIMISER:
            changed = tensors if out is not None else operands(args[0])
            self.flops[OPTIMISER] += sum(t.numel() for t in changed)
        if func.namespace == "c10d":
            self._exchange(func.__name__.partition(".")[0], args)
        for tensor in tensors:
            self.see(tensor)
        return out

    def _run(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> Any:
        """The operation's result; one or true in place of an unknown value."""
        try:
            return func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            name = func.overloadpacket.__name__
            if self.validating and name in SELECTS:
                return all_of(name, args, kwargs)
            if name not in LOOKS:
                raise refusal(name) from error
            if not self.validating and (where := place()) not in self.reads:
                self.reads.append(where)
            return answer(name, args[0])

    def see(self, tensor: Tensor, label: str | None = None) -> None:
        """Count a tensor's storage, under a label of its own; one already counted moves there."""
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if (known := self._seen.get(key)) is not None:
            if label is None and known[1] == size:
                return
            self._forget(key)
            self._keep(storage, size, label or known[2])
            return
        self._keep(storage, size, label or (FORWARD if self.phase == FORWARD else BACKWARD))

    def see_all(self, tensors: Iterable[Tensor], label: str) -> None:
        """Count the storages of several tensors under one label."""
        for tensor in tensors:
            self.see(tensor, label)

    def _keep(self, storage: torch.UntypedStorage, size: int, label: str) -> None:
        key = id(storage)
        watch = weakref.ref(storage, lambda _: self._forget(key))
        self._seen[key] = watch, size, label
        self.live[label] += size
        self._total += size
        self._note_peak()

    def _forget(self, key: int) -> None:
        if (known := self._seen.pop(key, None)) is not None:
            self.live[known[2]] -= known[1]
            self._total -= known[1]

    def _note_peak(self) -> None:
        if self._total >= self._most:  # equal where a storage gets its label
            self._most = self._total
            self.peak = {name: size for name, size in self.live.items() if size}

    def _exchange(self, name: str, args: tuple[Any, ...]) -> None:
        kind, given = sent(name, args)
        self.exchange(self._purpose(), kind, sum(t.nbytes for t in given))

    def exchange(self, name: str, kind: str, size: int, calls: int = 1) -> None:
        """Count calls of a collective into which a rank puts ``size`` bytes in all."""
        self.collectives[name, kind] += calls
        self.payload[name, kind] += size

    def _purpose(self) -> str:
        """The function that asked for the collective; on the way back, the one of the way there."""
        name, way = _caller(inspect.currentframe())
        if way == "backward":
            return f"{self.callers.pop() if self.callers else name}, gradient"
        if way == "forward":
            self.callers.append(name)
        return name

    def list_collectives(self) -> list[Collective]:
        """The collectives since the last `reset`, the largest first."""
        found = [
            Collective(name, kind, calls, self.payload[name, kind], self.world)
            for (name, kind), calls in self.collectives.items()
        ]
        return sorted(found, key=lambda one: -one.bytes)


def sent(name: str, args: tuple[Any, ...]) -> tuple[str, list[Tensor]]:
    """Kind of a collective, and what a rank puts in: allgather's and its kin's second argument."""
    bare = name.strip("_").removesuffix("_base").strip("_")
    kind = next((long for short, long in SHORT.items() if bare.startswith(short)), bare)
    given = args[1] if kind in ("all_gather", "reduce_scatter") else args[0]
    return kind, [t for t in torch_parts.tree_leaves(given) if isinstance(t, Tensor)]


def _caller(frame: Any) -> tuple[str, str]:
    """The innermost function that is neither a library's nor a wrapper, and the way to it.

    Returns:
        ``losses.contrastive.nt_xent``; and ``forward`` or ``backward`` where the collective has a
        gradient, else nothing.
    """
    way = ""
    while frame is not None:
        path = frame.f_code.co_filename.replace("\\", "/")
        if path.endswith("genlab/distributed.py"):
            way = {"forward": "forward", "backward": "backward"}.get(frame.f_code.co_name, way)
        elif not any(part in path for part in (*OWN, *LIBRARIES)):
            inside = path.rpartition("genlab/")[2].removesuffix(".py")
            return f"{inside.replace('/', '.')}.{frame.f_code.co_name}", way
        frame = frame.f_back
    return "step", way
