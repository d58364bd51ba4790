"""Laws of a step: who gets a gradient, half precision, and nothing that Python must see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from genlab.testing import host_reads
from genlab.testing.batches import Batch
from genlab.testing.cases import Case
from genlab.testing.findings import Finding
from genlab.testing.ranks import Ranks
from genlab.testing.running import Autocast, Outcome, Recorder, train


def gradients(case: Case, ranks: Ranks) -> Finding:
    """Every trained parameter gets a finite gradient; momentum copies and frozen ones get none."""
    method = case.fresh_plain()
    precision: Any = "64-true" if case.double else "32-true"
    found = train(method, case.fresh_data(), case.batches, Recorder(), precision=precision)
    largest: dict[str, float] = {}
    for step in found.gradients:
        for name, gradient in step.items():
            largest[name] = max(largest.get(name, 0.0), _largest(gradient))
    for name, p in method.named_parameters():
        if (fault := _fault(name, p, found.trained, largest)) is not None:
            return Finding("gradients", False, note=f"{name} {fault}")
    least = min((largest[name] for name in found.trained), default=0.0)
    return Finding("gradients", bool(found.trained), least, "the smallest of the largest")


def _largest(gradient: Tensor) -> float:
    return float(gradient.abs().max()) if bool(gradient.isfinite().all()) else float("nan")


def _fault(
    name: str, parameter: Tensor, trained: set[str], largest: dict[str, float]
) -> str | None:
    momentum = any(part.endswith("_ema") for part in name.split("."))
    if momentum and (parameter.requires_grad or name in trained):
        return "is trained, and is a momentum copy"
    if not parameter.requires_grad:
        return "is frozen and gets a gradient" if name in largest else None
    if name not in trained:
        return "wants a gradient and no optimiser holds it"
    if name not in largest or largest[name] == 0:
        return "gets no gradient"
    return "gets a gradient that is not finite" if largest[name] != largest[name] else None


def bf16(case: Case, ranks: Ranks) -> Finding:
    """All that a step returns, and gradients, are finite in bf16 autocast, near float32's."""
    return _half("bf16", case, torch.bfloat16, rounded=False)


def fp16(case: Case, ranks: Ranks) -> Finding:
    """The same under fp16 autocast, or with inputs and parameters rounded to fp16."""
    try:
        return _half("fp16", case, torch.float16, rounded=False)
    except RuntimeError as error:
        if "not implemented" not in str(error):
            raise
        return _half("fp16", case, torch.float16, rounded=True)


def _half(law: str, case: Case, dtype: torch.dtype, rounded: bool) -> Finding:
    losses = []
    variant = "inputs and parameters rounded" if rounded else "autocast"
    for half in (False, True):
        method, batches = case.fresh_plain(), case.batches[:2]
        options: dict[str, Any] = {}
        if half and rounded:
            _round(method, dtype)
            batches = [_rounded(batch, dtype) for batch in batches]
        elif half:
            options["plugins"] = [Autocast(dtype)]
        outcome = train(method, case.fresh_data(), batches, Recorder(), **options)
        if (fault := not_finite(outcome)) is not None:
            return Finding(law, False, float("inf"), f"{fault} ({variant})")
        losses.append(outcome.losses[0])
    apart = float((losses[1].double() - losses[0].double()).abs())
    relative = apart / max(1.0, float(losses[0].abs()))
    return Finding(law, relative < ROUNDING, relative, variant)


ROUNDING = 0.1  # of a loss, relative; loose, since a rounded feature may be another class


def not_finite(outcome: Outcome) -> str | None:
    """The first part of a training that is not finite; None if there is none."""
    for k, loss in enumerate(outcome.losses):
        if not bool(loss.isfinite().all()):
            return f"loss {k + 1} is not finite"
    if outcome.odd:
        return f"{outcome.odd[0]}, which a step returns, is no finite tensor"
    for step in outcome.gradients:
        for name, gradient in step.items():
            if not bool(gradient.isfinite().all()):
                return f"gradient of {name} is not finite"
    return None


@torch.no_grad()
def _round(method: torch.nn.Module, dtype: torch.dtype) -> None:
    for tensor in (*method.parameters(), *method.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(tensor.to(dtype))


def _rounded(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner, dtype) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner, dtype) for inner in value]
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(dtype).to(value.dtype)
    return value


def reads(case: Case, ranks: Ranks) -> Finding:
    """No value of a tensor is read by Python in a step, which would wait for an accelerator."""
    method, seen = case.fresh_plain(), list[str]()

    @contextmanager
    def watch(batch: Batch, k: int) -> Iterator[None]:
        into = seen if k else []  # the first batch may make what is made once
        with host_reads.noted(into):
            yield

    train(method, case.fresh_data(), case.batches, Recorder(watch))
    note = ", ".join(dict.fromkeys(seen))
    return Finding("reads", not seen, float(len(seen)), note)
