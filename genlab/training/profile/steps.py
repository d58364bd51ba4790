"""Time of a training step: its phases, and the same step without a trainer."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import lightning as L
import torch

from genlab.training.engine.trimming import STEP_HOOKS
from genlab.training.profile.bare_loop import BareLoop

LOGGING = "logging + callbacks"
OWN = "trainer"  # what no other phase claims
PHASES = ("data", "augmentation", "forward + loss", "backward", "optimiser + EMA", LOGGING)
SIDES = {"cuda": 8192}  # of the matrices whose product gives the machine's peak; others: 1024


class Clock:
    """Clock of the requested work: process CPU time, or a GPU's own events.

    Args:
        device: device of the work.
    """

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"

    def mark(self) -> Any:
        """A moment."""
        if not self.cuda:
            return time.process_time()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """Seconds from one moment to another; a GPU is waited for."""
        if not self.cuda:
            return float(end - start)
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000


class Timeline:
    """Exclusive time of nested phases: a phase's own, without those inside it.

    Args:
        clock: clock that measures.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock, self.running = clock, False
        self._marks: list[tuple[str, Any]] = []
        self._stack = [OWN]

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Attribute the time inside to ``name``."""
        self._stack.append(name)
        self._note()
        try:
            yield
        finally:
            self._stack.pop()
            self._note()

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as a phase."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self.running:
                return function(*args, **kwargs)
            with self.phase(name):
                return function(*args, **kwargs)

        return timed

    def resume(self) -> None:
        """Count from here."""
        self.running = True
        self._note()

    def pause(self) -> None:
        """Count up to here; time before `resume` is not counted."""
        self._marks.append(("", self.clock.mark()))
        self.running = False

    def seconds(self) -> dict[str, float]:
        """Seconds of each phase over all steps."""
        total = dict.fromkeys((*PHASES, OWN), 0.0)
        for (name, start), (_, end) in zip(self._marks, self._marks[1:], strict=False):
            if name:
                total[name] += self.clock.between(start, end)
        return total

    def _note(self) -> None:
        if self.running:
            self._marks.append((self._stack[-1], self.clock.mark()))


class StepTimer(L.Callback):
    """Measure steps of the real fit and as many of a bare loop, then end training.

    They alternate step by step; on a GPU, where waiting after each would show launches that
    otherwise overlap, ten by ten. A quarter as many more steps (ten if there are that many) are
    divided into phases and count for nothing else.

    Args:
        steps: number of measured steps.
        warmup: number of steps before them.
    """

    def __init__(self, steps: int, warmup: int) -> None:
        self.steps, self.warmup = steps, warmup
        self.pairs: list[tuple[float, float]] = []  # seconds a turn of fit and bare, by the clock
        self.wall = 0.0
        self.flops = 0
        self.timeline: Timeline
        self._loop: BareLoop
        self._done, self._turn, self._window, self._phased = 0, 1, 1, 1
        self._start: tuple[Any, float]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Set up the clocks and the bare loop."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.clock = Clock(pl_module.device)
        self._turn = min(self.steps, 10) if self.clock.cuda else 1
        self.steps -= self.steps % self._turn
        self._phased = max(self.steps // 4, min(self.steps, 10)) // self._turn * self._turn
        self._window = max(1, int(trainer.log_every_n_steps) // self._turn)  # type: ignore[attr-defined]
        self._loop = BareLoop(trainer, pl_module, data)
        self.timeline = Timeline(self.clock)
        instrument(self.timeline, trainer, pl_module, data, self)

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        """End one turn, take a bare one, begin the next."""
        self._done += 1
        measured = self._done - self.warmup
        if measured <= 0:
            self._loop.step()
        elif measured % self._turn:
            return
        else:
            if self.timeline.running:
                self.timeline.pause()
            took = self.clock.between(self._start[0], self.clock.mark())
            wall, bare = time.perf_counter() - self._start[1], self._bare_turn()
            if measured <= self.steps:
                self.wall += wall
                self.pairs.append((took, bare))
        if measured >= self.steps + self._phased:
            self.flops = self._loop.flops()
            trainer.should_stop = True
            return
        self._start = self.clock.mark(), time.perf_counter()
        if measured >= self.steps:
            self.timeline.resume()

    def _bare_turn(self) -> float:
        start = self.clock.mark()
        for _ in range(self._turn):
            self._loop.step()
        return self.clock.between(start, self.clock.mark())

    def figures(self) -> dict[str, Any]:
        """Milliseconds of a step and of its phases, and their ratio to the bare loop's.

        Medians over windows of ``trainer.log_every_n_steps`` steps, so that what happens once in a
        window counts; over all steps if they are fewer.
        """
        windows = means(self.pairs, self._window)
        fit, bare = (statistics.median(side) / self._turn for side in zip(*windows, strict=True))
        phases, steps = self.timeline.seconds(), len(self.pairs) * self._turn
        extra = statistics.median(a - b for a, b in windows) / self._turn
        return {
            "steps": steps,
            "fit_ms": 1000 * fit,
            "bare_ms": 1000 * bare,
            "ratio": statistics.median(a / b for a, b in windows),
            "extra_ms": 1000 * extra,
            "wall_ms": 1000 * self.wall / steps,
            "phases_ms": {k: 1000 * v / self._phased for k, v in phases.items()},
            "phase_steps": self._phased,
            "flops_per_step": self.flops,
        }


def means(pairs: list[tuple[float, float]], size: int) -> list[tuple[float, float]]:
    """Mean of each side over whole windows of ``size`` pairs, or over all pairs if fewer."""
    size = min(size, len(pairs))
    starts = range(0, len(pairs) - size + 1, size)
    columns = ([a for a, _ in pairs], [b for _, b in pairs])
    first, second = ([statistics.fmean(c[s : s + size]) for s in starts] for c in columns)
    return list(zip(first, second, strict=True))


def instrument(
    timeline: Timeline, trainer: L.Trainer, method: Any, data: Any, timer: L.Callback
) -> None:
    """Let the parts of a step say which phase they are."""
    data.on_after_batch_transfer = timeline.wrap("augmentation", data.on_after_batch_transfer)
    method.training_step = timeline.wrap("forward + loss", method.training_step)
    method.backward = timeline.wrap("backward", method.backward)
    method.optimizer_step = timeline.wrap("optimiser + EMA", method.optimizer_step)
    for optimizer in trainer.optimizers:
        step = timeline.wrap("optimiser + EMA", optimizer.step)
        if not method.automatic_optimization:  # its closure is what training_step is elsewhere
            step = _with_closure(timeline, step)
        optimizer.step = step  # type: ignore[method-assign]
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for name in STEP_HOOKS if callback is not timer else ():
            if callable(hook := getattr(callback, name)):
                setattr(callback, name, timeline.wrap(LOGGING, hook))


def _with_closure(timeline: Timeline, step: Callable[..., Any]) -> Callable[..., Any]:
    def timed(closure: Any = None) -> Any:
        return step(closure and timeline.wrap("forward + loss", closure))

    return timed


@contextmanager
def timed_batches(kind: type, timer: StepTimer) -> Iterator[None]:
    """While it lasts, reading the next batch of a loader of this kind is the phase ``data``."""
    read = kind.__iter__  # type: ignore[attr-defined]

    def timed(self: Any) -> Iterator[Any]:
        batches = read(self)
        while True:
            timeline = getattr(timer, "timeline", None)
            if timeline is None or not timeline.running:
                batch = next(batches, None)
            else:
                with timeline.phase("data"):
                    batch = next(batches, None)
            if batch is None:
                return
            yield batch

    with mock.patch.object(kind, "__iter__", timed):
        yield


def matmul_peak(device: torch.device, dtype: torch.dtype, rounds: int = 8) -> float:
    """Operations a second, of a GPU or of CPU time, of a product of two square matrices.

    The best of some rounds.
    """
    side, many = SIDES.get(device.type, 1024), 20 if device.type == "cuda" else 1
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    clock = Clock(device)
    a @ b
    best = float("inf")
    for _ in range(rounds):
        start = clock.mark()
        for _ in range(many):
            a @ b
        best = min(best, clock.between(start, clock.mark()))
    return 2 * side**3 * many / best
