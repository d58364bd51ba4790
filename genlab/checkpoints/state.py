"""State of a training in a checkpoint: its SHA-256, and where two states differ.

The state is what the next steps follow from: weights, averages, optimisers, schedules, callbacks,
the position in the data. Times, paths, versions, settings and metrics are left out, so that a run
that was killed and continued has the states of the straight one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from genlab.internals import lightning_state

NO_STATE = ("epoch", "pytorch-lightning_version", "loops", "hparams_name", "hyper_parameters",
            "datamodule_hparams_name", "datamodule_hyper_parameters", "genlab", "epoch_metrics",
            "callbacks")  # fmt: skip
UNTRAINED = ("StepMetrics", "Timer", "ModelCheckpoint", "ThroughputMonitor")  # metrics and clocks
KEEPER = "Checkpoints"  # of its state the selected step and score


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of the state in a checkpoint: names, types, shapes and bytes, in order of names."""
    found = hashlib.sha256()
    for name, value in sorted(leaves(content)):
        found.update(f"{name}\0{_kind(value)}\0".encode())
        found.update(_bytes(value))
    return found.hexdigest()


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Name of the first value in which two states differ; empty if they are the same."""
    mine, theirs = dict(leaves(one)), dict(leaves(other))
    for name in sorted(mine.keys() | theirs.keys()):
        if name not in mine or name not in theirs:
            return name
        a, b = mine[name], theirs[name]
        if _kind(a) != _kind(b) or bytes(_bytes(a)) != bytes(_bytes(b)):
            return name
    return ""


def distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Norm of the difference of the weights of two states, which have the same names."""
    mine, theirs = one["state_dict"], other["state_dict"]
    parts = [
        (mine[name].cpu().double() - theirs[name].cpu().double()).norm() ** 2
        for name in mine.keys() & theirs.keys()
        if isinstance(mine[name], Tensor) and mine[name].is_floating_point()
        if mine[name].shape == theirs[name].shape
    ]
    return float(sum(parts)) ** 0.5


def leaves(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value of a checkpoint's state with its name."""
    for key, value in content.items():
        if key not in NO_STATE:
            yield from _flat(str(key), value)
    for key, value in content.get("callbacks", {}).items():
        if str(key).startswith(KEEPER):
            best = value.get("best", {})
            value = {name: best.get(name) for name in ("score", "step", "epoch")}
        if not str(key).startswith(UNTRAINED):
            yield from _flat(f"callbacks/{key}", value)
    for number, state in enumerate(lightning_state.loader_states(dict(content))):
        yield from _flat(f"loader/{number}", state)


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield name, len(value)
        for key, inner in value.items():
            yield from _flat(f"{name}/{key}", inner)
    elif isinstance(value, list | tuple):
        yield name, len(value)
        for number, inner in enumerate(value):
            yield from _flat(f"{name}/{number}", inner)
    else:
        yield name, value


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return type(value).__name__


def _bytes(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return repr(value).encode()
    whole = value.detach().cpu().contiguous().reshape(-1)
    return whole.view(torch.uint8).numpy().data if whole.numel() else b""
