"""Encoders as users speed them up: compiled, in another memory layout, as CUDA graphs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genlab import networks
from genlab.internals import torch_parts
from genlab.testing.field.measurement import Measurement, holds, skipped, within
from genlab.testing.field.place import Place
from genlab.testing.field.steps import apart, case_of
from genlab.testing.findings import worst
from genlab.testing.running import Outcome, Recorder, train

NEAR = {"output": 1e-3, "gradient": 1e-2, "statistics": 1e-3}
STEP = {"loss": 1e-3, "gradient": 1e-2}
PASSES = 4  # a CUDA graph is recorded by the second
OPTIONS: dict[str, dict[str, Any]] = {
    "compile": {"compile": True},
    "channels_last": {"channels_last": True},
    "cuda_graphs": {"compile": "reduce-overhead"},
}
SUBJECTS = (*OPTIONS, "compiled_step")
KIND = "SimCLR"  # whose step is compiled


def encoders(place: Place, subject: str) -> Iterator[Measurement]:
    """An encoder compiled, in channels_last or as CUDA graphs does what it does without."""
    if (reason := _unable(place, subject)) is not None:
        yield skipped(subject, reason)
        return
    compiles = subject != "channels_last"
    before = torch_parts.compiled_frames() if compiles else 0
    with place.tf32(False):
        yield from _step(place) if subject == "compiled_step" else _alone(place, subject)
    if compiles:
        count = torch_parts.compiled_frames() - before
        yield holds(f"{subject}, frames compiled", count > 0, f"{count} of them")
        torch.compiler.reset()


def _unable(place: Place, subject: str) -> str | None:
    if not place.small or subject == "channels_last":
        return None
    if subject == "cuda_graphs":
        return "a CPU has no CUDA graphs"
    compiler = os.environ.get("CXX", "g++")
    return None if shutil.which(compiler) else f"no C++ compiler {compiler}"


def _alone(place: Place, subject: str) -> Iterator[Measurement]:
    name, kwargs, side = ("small_cnn", {"width": 4}, 8) if place.small else (
        "resnet18", {"stem": "cifar"}, 32)  # fmt: skip
    plain = networks.encoder(name, 3, side, **kwargs).to(place.device)
    other = networks.encoder(name, 3, side, **kwargs, **OPTIONS[subject]).to(place.device)
    other.load_state_dict(plain.state_dict())
    image = torch.rand(32, 3, side, side, generator=torch.Generator().manual_seed(3))
    here = _passes(plain, image.to(place.device))
    with place.side():
        there = _passes(other, image.to(place.device))
    for part, value in here.items():
        difference, _ = worst([("", {part: there[part]}, {part: value})])
        yield within(f"{subject} of {name}, {part}", difference, NEAR[part])


def _passes(network: Any, image: Tensor) -> dict[str, Tensor]:
    """Output and gradient of the last of some passes, and batch norms' statistics."""
    for _ in range(PASSES):
        network.zero_grad()
        out = network(image)
        out.square().mean().backward()
    found = {
        "output": out.detach(),
        "gradient": torch.cat([p.grad.flatten() for p in network.parameters()]),
    }
    buffers = [b.flatten() for b in network.buffers() if b.is_floating_point()]
    return found | ({"statistics": torch.cat(buffers)} if buffers else {})


def _step(place: Place) -> Iterator[Measurement]:
    """Steps of a method whose encoder is compiled, as ``encoder_kwargs.compile`` has it."""
    case = case_of(KIND)

    def trained(compiled: bool) -> Outcome:
        method: Any = case.fresh_plain()
        method.encoder.compile_backbone(compiled)
        batches = case.batches[:3]
        return train(method, case.fresh_data(), batches, Recorder(), **place.trainer())

    plain = trained(False)
    with place.side():
        compiled = trained(True)
    for part, value in apart(plain, compiled, case.plain.state_dict()).items():
        near = STEP["loss" if part == "loss" else "gradient"]
        yield within(f"compiled step of {KIND}, {part}", value, near)
