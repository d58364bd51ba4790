"""Steps of every method on the device: next to the CPU's, in half precision, without waits."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor

from genlab.data.loader import batch_seed
from genlab.metrics.step_metrics import StepMetrics
from genlab.optim import StepPlan
from genlab.testing import cases
from genlab.testing.batches import Given, everything, rows_of
from genlab.testing.cases import Case
from genlab.testing.field.measurement import Measurement, holds, measured, skipped, within
from genlab.testing.field.place import Place
from genlab.testing.noise import RowNoise
from genlab.testing.numbers import not_finite
from genlab.testing.running import Autocast, Outcome, Recorder, quiet_trainer, train
from genlab.testing.tiny import smallest
from genlab.training.engine.epoch_metrics import EpochMetrics
from genlab.training.engine.finite import FiniteGuard
from genlab.training.engine.reseed import Reseed

STEPS = 3
FIRST = 3  # steps that make what is made once: constants, moments of both networks of a GAN, and
# of what was frozen at first
# By whether products are in TensorFloat-32. Rounding alone, played on a CPU, gives up to 0.004 and
# 0.07 there: batch norm of small batches enlarges it. Float32 rounds 4,000 times finer.
NEAR = {False: {"loss": 1e-4, "gradient": 1e-3}, True: {"loss": 0.02, "gradient": 0.2}}
HALVES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
ROUNDS = 3  # of the batches: a scaler of gradients starts far too high
CACHE = "model.cache_codes=false"  # asks at every step whether an image has changed


def kinds() -> list[str]:
    """Methods, by class name."""
    return [kind for kind, recipe in smallest().items() if recipe]


@lru_cache(1)  # checks of one method follow each other
def case_of(kind: str) -> Case:
    """The tiny case of a method."""
    recipe = smallest()[kind]
    assert recipe is not None, kind
    return cases.case([recipe])


def parity(place: Place, kind: str) -> Iterator[Measurement]:
    """Loss, gradient and three steps equal the CPU's, TF32 off and on, with the same draws.

    With TF32 a part is measured, not judged, where the method's ``near_ties`` says that rounding
    decides between two choices of about the same worth: a mapping from parts to reasons.
    """
    case = case_of(kind)
    before, tied = case.plain.state_dict(), getattr(case.plain, "near_ties", {})
    here = _trained(case, {})
    for on in (False, True):
        with place.tf32(on), place.side():
            there = _trained(case, place.trainer())
        for part, value in apart(here, there, before).items():
            near = NEAR[on]["loss" if part == "loss" else "gradient"]
            subject = f"{kind}, TF32 {'on' if on else 'off'}, {part}"
            excuse = next((why for name, why in tied.items() if part.startswith(name)), "")
            if on and excuse:
                yield measured(subject, value, "relative", excuse)
            else:
                yield within(subject, value, near)


def half(place: Place, kind: str) -> Iterator[Measurement]:
    """Steps in bf16-mixed and 16-mixed: losses, results, last gradients and weights are finite."""
    case = case_of(kind)
    for precision, dtype in HALVES.items():
        options = place.trainer() | _mixed(place, precision, dtype)
        try:
            with place.side():
                found = train(
                    case.fresh_plain(), case.fresh_data(), case.batches * ROUNDS, Recorder(),
                    **options,
                )  # fmt: skip
        except RuntimeError as error:
            if not place.small or "not implemented" not in str(error):
                raise
            yield skipped(f"{kind}, {precision}", f"the CPU has no such kernel: {error}")
            continue
        found.gradients = found.gradients[-1:]  # a scaler skips steps that overflow
        fault = not_finite(found) or _not_finite_state(found)
        yield holds(f"{kind}, {precision}", fault is None, fault or "")


def waits(place: Place, kind: str) -> Iterator[Measurement]:
    """No step of the recipe's optimiser, with genlab's callbacks, makes Python wait for the GPU."""
    case, seen, note = case_of(kind), list[str](), ""
    method: Any = case.fresh()
    if getattr(method, "cache_codes", False):
        method.cache_codes, note = False, f"with {CACHE}: the cache saves an encoding by a wait"
    guard = FiniteGuard(late=True)  # as it is on a GPU
    engine = [guard, Reseed(), StepPlan(), StepMetrics(), EpochMetrics()]
    window = ExitStack()
    first, last = Opening(window, lambda: place.watch(seen)), Closing(window)
    callbacks = [first, *engine, last]
    data = Given(case.fresh_data(), case.batches * 2)
    options = place.trainer() | {"max_epochs": 1, "log_every_n_steps": 1000}
    with place.side(), tempfile.TemporaryDirectory() as folder, window:
        quiet_trainer(Path(folder), *callbacks, **options).fit(method, datamodule=data)
    places = ", ".join(dict.fromkeys(seen))
    yield holds(kind, not seen, places or note)


class Opening(L.Callback):
    """Callback that opens a context at the start of every step but the first ones.

    Args:
        window: holds it open.
        make: makes it.
    """

    def __init__(self, window: ExitStack, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self.window, self.make = window, make

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx >= FIRST:
            self.window.enter_context(self.make())


class Closing(L.Callback):
    """Callback that closes what is open at the end of a step.

    Args:
        window: holds it open.
    """

    def __init__(self, window: ExitStack) -> None:
        self.window = window

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.window.close()


def _trained(case: Case, options: dict[str, Any]) -> Outcome:
    """Three steps, each image with its own draws, the same on every device."""
    batches = case.batches[:STEPS]
    rows = [rows_of(batch, everything) for batch in batches]
    recorder = Recorder(lambda batch, k: RowNoise(rows[k], batch_seed(1, 0, k)))
    return train(case.fresh_plain(), case.fresh_data(), batches, recorder, **options)


def apart(here: Outcome, there: Outcome, before: dict[str, Tensor]) -> dict[str, float]:
    """Norms of differences, relative to the loss, the gradient and the move of three steps."""
    found = {}
    if here.losses:
        apart = (
            _relative(b[None], a[None]) for a, b in zip(here.losses, there.losses, strict=True)
        )
        found["loss"] = max(apart)
    if here.gradients:
        found["gradient"] = _relative(*(_flat(o.gradients[0]) for o in (there, here)))
    for part, names in (("weights", here.trained), ("state", before.keys() - here.trained)):
        kept = {n for n in names if n in before and before[n].is_floating_point()}
        if kept:
            moves = (_moved(o.state, before, kept) for o in (there, here))
            found[f"{part} after {STEPS} steps"] = _relative(*moves)
    return found


def _relative(one: Tensor, other: Tensor) -> float:
    """Norm of the difference over the norm of the second; infinite if they are not alike."""
    if one.shape != other.shape:
        return float("inf")
    one, other = one.cpu(), other.cpu()
    return float((one - other).norm() / other.norm().clamp(min=1e-9))


def _flat(tensors: dict[str, Tensor]) -> Tensor:
    """All numbers of some tensors, on the CPU in double precision, in the order of their names."""
    parts = [tensors[name].cpu().double().flatten() for name in sorted(tensors)]
    return torch.cat(parts) if parts else torch.zeros(1, dtype=torch.double)


def _moved(after: dict[str, Tensor], before: dict[str, Tensor], names: set[str]) -> Tensor:
    """How far tensors have moved; what has another size now has moved from zero."""
    moves = {}
    for name in names:
        now, then = after[name].cpu().double(), before[name].cpu().double()
        moves[name] = now - then if now.shape == then.shape else now
    return _flat(moves)


def _not_finite_state(found: Outcome) -> str | None:
    for name, tensor in found.state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return f"{name} is not finite after the steps"
    return None


def _mixed(place: Place, precision: str, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments of a Trainer; Lightning has no fp16 on a CPU."""
    if place.small:
        return {"plugins": [Autocast(dtype)]}
    return {"plugins": [MixedPrecision(precision, "cuda")]}  # type: ignore[arg-type]
