"""Ten slips over five methods, each a class of its own so that other processes find it too."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from genlab import distributed
from genlab.contracts import Batch
from genlab.methods.barlow_twins import BarlowTwins
from genlab.methods.byol import BYOL
from genlab.methods.moco import MoCo
from genlab.methods.moco_v3 import MoCoV3
from genlab.methods.simclr import SimCLR

METHODS: dict[type[Any], str] = {
    SimCLR: "simclr/digits",
    MoCo: "moco/digits",
    MoCoV3: "moco_v3/digits",
    BYOL: "byol/digits",
    BarlowTwins: "barlow_twins/digits",
}
Step = Callable[[Batch, int], dict[str, Tensor]]


class GatherDropped:
    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        with mock.patch("genlab.distributed.active", return_value=False):
            return _step(self)(batch, batch_idx)


class GradientOfGatherDropped:
    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        gather, reduce = distributed.gather, distributed.all_reduce

        def rows(x: Tensor) -> Tensor:
            every = list(gather(x.detach()).chunk(distributed.world_size()))
            every[distributed.rank()] = x
            return torch.cat(every)

        def total(x: Tensor) -> Tensor:
            return x + (reduce(x.detach()) - x).detach()

        with (
            mock.patch("genlab.distributed.gather", rows),
            mock.patch("genlab.distributed.all_reduce", total),
        ):
            return _step(self)(batch, batch_idx)


class GradientOverWorld:
    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        out, world = _step(self)(batch, batch_idx), distributed.world_size()
        return out | {"loss": out["loss"] / world + out["loss"].detach() * (1 - 1 / world)}


class BufferMadeAttribute:
    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        state = super().state_dict(*args, **kwargs)  # type: ignore[misc]
        names = sorted(state, key=lambda name: not name.startswith("queue.keys"))
        lost = next(n for n in names if n.startswith("queue.keys") or n.endswith("running_mean"))
        return {name: value for name, value in state.items() if name != lost}

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state_dict, strict=False)  # type: ignore[misc]


class NoGradRemoved:
    """The momentum copy wants a gradient; a method without one has no gradient to its encoder."""

    def configure_optimizers(self) -> Any:
        method: Any = self
        copies = [p for n, p in method.named_parameters() if "_ema." in n]
        for p in copies or method.encoder.parameters():
            p.requires_grad_(bool(copies))
        if not copies:
            method.encoder.requires_grad_(True)
            method.encoder.register_forward_hook(lambda module, given, h: h.detach())
        return super().configure_optimizers()  # type: ignore[misc]


class DetachAdded:
    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        encoder: Any = self.encoder  # type: ignore[attr-defined]
        hook = encoder.register_forward_hook(lambda module, given, h: h.detach())
        try:
            return _step(self)(batch, batch_idx)
        finally:
            hook.remove()


class MovesPerBatch:
    """The momentum hook in the step; a method without one counts batches in an attribute."""

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        method: Any = self
        out = _step(self)(batch, batch_idx)
        if hasattr(method, "projector_ema"):
            kind: Any = type(self).__mro__[2]
            arguments = () if kind is MoCo else (method.global_step, 1000)
            kind.after_step(self, *arguments)
            return out
        method.batches_seen = getattr(method, "batches_seen", 0) + 1
        return out | {"loss": out["loss"] / method.batches_seen}

    def after_step(self, *_: Any) -> None:
        """Done in the step."""


class SumForMean:
    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        out = _step(self)(batch, batch_idx)
        return out | {"loss": out["loss"] * len(batch["index"])}


class RunningGenerator:
    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        out = _step(self)(batch, batch_idx)
        return out | {"loss": out["loss"] * (1 + random.random() / 10)}


class ValueRead:
    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        out = _step(self)(batch, batch_idx)
        if float(out["loss"].detach()) > 1e9:
            raise ValueError("the loss has exploded")
        return out


def _step(mutant: Any) -> Step:
    """The step of the method under the slip."""
    kind: Any = type(mutant).__mro__[2]
    step: Step = kind.training_step.__get__(mutant)
    return step


SLIPS: tuple[type, ...] = (
    GatherDropped, GradientOfGatherDropped, GradientOverWorld, BufferMadeAttribute, NoGradRemoved,
    DetachAdded, MovesPerBatch, SumForMean, RunningGenerator, ValueRead,
)  # fmt: skip
MUTANTS: dict[str, tuple[type[Any], str]] = {}
for _slip in SLIPS:
    for _method, _recipe in METHODS.items():
        _name = f"{_slip.__name__}{_method.__name__}"
        globals()[_name] = type(_name, (_slip, _method), {"__module__": __name__})
        MUTANTS[_name] = globals()[_name], _recipe
