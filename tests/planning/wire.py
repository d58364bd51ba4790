"""What the processes of a real training send, counted where they send it."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch.distributed as dist

from genlab import recipes
from genlab.planning import inner, watching
from genlab.planning.fake import alone, leave_out, quiet
from genlab.training.building import build
from genlab.training.engine.safe_requeue import SafeRequeue
from tests.planning.real import as_a_device

Sent = dict[tuple[str, str], tuple[int, int]]  # (purpose, kind): calls, bytes
WRAPPERS = ("genlab/distributed.py", "genlab/planning/autocast.py")
BACK = "way back"  # of collectives with gradient: the stack does not say whose


def sent(rank: int, world: int, meeting: str, words: list[str]) -> Sent:
    """What one of ``world`` gloo processes puts into collectives in its third optimiser step.

    Args:
        rank: this process's number.
        world: number of processes.
        meeting: path of a file that is not there yet.
        words: recipe's name and overrides.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        quiet(),
        as_a_device(),
        counted(rank, world, meeting) as wire,
    ):
        recipe = alone(recipes.resolve(words[:1], words[1:]))
        recipe.config["trainer"] |= {"strategy": "ddp", "devices": world}
        inner.untrained(recipe, Path(folder))
        lab = build(recipe, Path(folder))
        every: list[Any] = lab.trainer.callbacks  # type: ignore[attr-defined]
        asking = [one for one in every if isinstance(one, SafeRequeue)]
        leave_out(lab.trainer, ThirdStep(wire))
        for one in asking:  # after every step, the most that it does
            one.every_n_seconds = 0
            every.append(one)
        with suppress(watching.Enough):
            lab.trainer.fit(lab.model, datamodule=lab.data)
        return {key: (wire.calls[key], wire.bytes[key]) for key in wire.calls}


class ThirdStep(L.Callback):
    """Ends a training after the third optimiser step, of which alone the wire tells.

    In the second DDP orders its buckets anew, once.

    Args:
        wire: its counts begin anew after every step.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire, self.steps = wire, 0

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Compare steps."""
        if trainer.global_step > 2:
            raise watching.Enough
        if trainer.global_step > self.steps:
            self.steps = trainer.global_step
            self.wire.calls.clear()
            self.wire.bytes.clear()


class Wire(dist.ProcessGroup):
    """Gloo's process group with a note of all that is put into it, also by DDP's own code.

    Args:
        gloo: sends.
        rank: this process's number.
        world: number of processes.
    """

    def __init__(self, gloo: Any, rank: int, world: int) -> None:
        super().__init__(rank, world)
        self.gloo = gloo
        self.calls: Counter[tuple[str, str]] = Counter()
        self.bytes: Counter[tuple[str, str]] = Counter()

    def note(self, kind: str, tensors: Any) -> None:
        """Count a call into which tensors are put."""
        key = _purpose(), kind
        self.calls[key] += 1
        self.bytes[key] += sum(t.numel() * t.element_size() for t in tensors)

    def allreduce(self, tensors: Any, *options: Any) -> Any:
        """Note and send."""
        self.note("all_reduce", tensors)
        return self.gloo.allreduce(tensors, *options)

    def broadcast(self, tensors: Any, *options: Any) -> Any:
        """Note and send."""
        self.note("broadcast", tensors)
        return self.gloo.broadcast(tensors, *options)

    def allgather(self, into: Any, tensors: Any, *options: Any) -> Any:
        """Note and send."""
        self.note("all_gather", tensors)
        return self.gloo.allgather(into, tensors, *options)

    def all_gather_single(self, into: Any, tensor: Any, *options: Any) -> Any:
        """Note and send."""
        self.note("all_gather", [tensor])
        return self.gloo.all_gather_single(into, tensor, *options)

    def barrier(self, opts: Any = None) -> Any:
        """Note and wait."""
        self.note("barrier", [])
        return self.gloo.barrier(opts or dist.BarrierOptions())

    def getBackendName(self) -> str:
        """Name in messages."""
        return "wire"


@contextmanager
def counted(rank: int, world: int, meeting: str) -> Iterator[Wire]:
    """Leave the process group for one that counts."""
    made: list[Wire] = []

    def make(store: Any, rank: int, world: int, timeout: Any) -> Wire:
        made.append(Wire(dist.ProcessGroupGloo(store, rank, world, timeout), rank, world))
        return made[0]

    dist.destroy_process_group()
    if "WIRE" not in dir(dist.Backend):
        dist.Backend.register_backend("wire", make, devices=["cpu"])
    dist.Backend._plugins["WIRE"] = dist.Backend._BackendPlugin(make, False)
    dist.init_process_group("wire", init_method=f"file://{meeting}", rank=rank, world_size=world)
    yield made[0]


def _purpose() -> str:
    """Who sends, by the stack: DDP, a gather's way back, or one of genlab's functions."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        if name == "_sync_buffers":
            return watching.BUFFERS
        if path.endswith("torch/autograd/graph.py"):
            return "gradients"
        if path.endswith("genlab/distributed.py") and name == "backward":
            return BACK
        ours = "/genlab/" in path and not path.endswith(WRAPPERS)
        if ours:
            if name == "_agreed":
                return watching.SIGNALS
            return f"{path.rpartition('/genlab/')[2].removesuffix('.py').replace('/', '.')}.{name}"
        frame = frame.f_back
    return "library"
