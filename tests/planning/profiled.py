"""Peak of a real training by another instrument: the allocations that torch's profiler reports."""

from __future__ import annotations

import tempfile
from bisect import bisect_left, bisect_right
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
from torch.profiler import ProfilerActivity, profile, record_function

from genlab.planning import inner, watching
from genlab.planning.fake import alone, leave_out, quiet
from genlab.recipes import Recipe
from genlab.training.building import build
from tests.planning.real import Read, as_a_device

SECOND = "the second step"


class Peak(NamedTuple):
    """Bytes that the CPU's allocator has handed out.

    Args:
        all: at the most in the second step, with all that lives since before.
        results: the same without the scratch memory of kernels, which is allocated and freed
            inside of one operation.
    """

    all: int
    results: int


def profiled_peak(recipe: Recipe) -> Peak:
    """Most memory of the second optimiser step of a training on this CPU, in bytes.

    The data are read and put in order before; the method is built while the profiler looks.
    Nothing of the plan's own counting takes part.

    Args:
        recipe: resolved; small enough for this machine.
    """
    with tempfile.TemporaryDirectory() as folder, quiet(), as_a_device():
        lone = alone(recipe)
        lone.config["trainer"]["limit_val_batches"] = 0  # whose images would be cut on the host
        inner.untrained(lone, Path(folder))
        first = build(lone, Path(folder))
        own = Unwatched(first.data, first.trainer)
        own.copied()  # the order of the epoch is the host's
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            lab = build(lone, Path(folder))
            leave_out(lab.trainer, Marks())
            with suppress(watching.Enough):
                lab.trainer.fit(lab.model, datamodule=own)
            del lab
        return _peak(seen)


class Marks(L.Callback):
    """Marks the second step in the profiler's record, and ends the training behind it."""

    def __init__(self) -> None:
        self.mark: Any = None

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        """Begin after the first step, end after the second."""
        if trainer.global_step > 1:
            self.mark.__exit__(None, None, None)
            raise watching.Enough
        if trainer.global_step == 1 and self.mark is None:
            self.mark = record_function(SECOND)
            self.mark.__enter__()


class Unwatched(Read):
    """Real batches, of which no counter hears.

    Args:
        data: the module in question.
        trainer: trainer that its loader is made for.
    """

    def __init__(self, data: Any, trainer: Any) -> None:
        super().__init__(data, trainer, None)

    def make(self) -> Any:
        return self.copied()

    def seen(self, raw: Any) -> Any:
        return raw

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The module's own."""
        return self.inner.on_after_batch_transfer(batch, dataloader_idx)


def _peak(seen: Any) -> Peak:
    every = sorted(seen.profiler.kineto_results.events(), key=lambda one: one.start_ns())
    mark = next(one for one in every if one.name() == SECOND)
    first, last = mark.start_ns(), mark.start_ns() + mark.duration_ns()
    found = [one for one in every if one.name() == "[memory]"]
    kernels = [one for one in every if "convolution" in one.name()]
    scratch = _scratch(found, kernels)
    return Peak(_most(found, first, last, set()), _most(found, first, last, scratch))


def _scratch(found: list[Any], kernels: list[Any]) -> set[int]:
    """Positions of allocations inside of a kernel that it frees itself, and of their ends."""
    times, scratch, done = [one.start_ns() for one in found], set[int](), 0
    for kernel in kernels:  # outer ones first
        if kernel.start_ns() < done:
            continue
        done = kernel.start_ns() + kernel.duration_ns()
        open_: dict[int, list[int]] = {}
        for position in range(bisect_left(times, kernel.start_ns()), bisect_right(times, done)):
            size = found[position].nbytes()
            if size > 0:
                open_.setdefault(size, []).append(position)
            elif open_.get(-size):
                scratch |= {position, open_[-size].pop()}
    return scratch


def _most(found: list[Any], first: int, last: int, without: set[int]) -> int:
    live = most = 0
    for position, one in enumerate(found):
        if position not in without:
            live += one.nbytes()
        if first <= one.start_ns() <= last:
            most = max(most, live)
    return most
