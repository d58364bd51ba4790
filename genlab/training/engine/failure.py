"""A step that was not finite: what is known of it."""

from __future__ import annotations

import math
import struct
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from genlab import distributed
from genlab.internals.lightning_loops import Position

NAN = "7fc00000"


@dataclass
class Failure:
    """A step that was not finite.

    Attributes:
        what: ``loss``, ``gradient`` or ``weights``.
        value: the loss; ``nan`` or ``inf`` of others.
        step: number of the optimiser step, from 1.
        at: place of its first batch; None if the weights are those after the step.
        rank: process that saw it first.
        bits: each batch's loss as this process had it, see `bits_of`.
        indices: positions of each batch's images in the data set, in this process.
        done: optimiser steps that the batch had done before, of a method that steps by itself.
        first: first module and tensor that are not finite.
    """

    what: Literal["loss", "gradient", "weights"]
    value: str
    step: int
    at: Position | None = None
    rank: int = 0
    bits: list[str] = field(default_factory=list)
    indices: list[list[int]] = field(default_factory=list)
    done: int = 0
    first: str = ""

    def __str__(self) -> str:
        verb = "are" if self.what == "weights" else "is"
        where = f" on rank {self.rank}" if distributed.world_size() > 1 else ""
        after = "after" if self.what == "weights" else "of"
        return f"{self.what} {after} step {self.step:,} {verb} not finite ({self.value}){where}"

    def facts(self, every: list[Failure]) -> dict[str, Any]:
        """Plain values for a file, with the losses and images of every rank."""
        own = asdict(self) | {"at": self.at and self.at._asdict()}
        del own["bits"], own["indices"]
        return own | {"ranks": [{"bits": one.bits, "indices": one.indices} for one in every]}


class NotFiniteError(Exception):
    """A step was not finite; raised on all ranks, every tensor as it was before the step."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class GiveUpError(Exception):
    """Leaves the step that is under way, before the optimiser's arithmetic."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


def lists(indices: list[Tensor | None]) -> list[list[int]]:
    """Positions as plain numbers, for a file."""
    return [[] if i is None else i.tolist() for i in indices]


def bits_of(losses: list[Tensor]) -> list[str]:
    """Losses as float32, each as eight hexadecimal digits.

    All NaN are one: their sign depends on the order in which a processor takes its operands.
    """
    return [
        f"{struct.unpack('>I', struct.pack('>f', loss))[0]:08x}" if not math.isnan(loss) else NAN
        for loss in (float(loss.detach().float()) for loss in losses)
    ]


def first_bad(losses: list[Tensor]) -> float | None:
    """The first loss that is not finite."""
    return next((value for loss in losses if not math.isfinite(value := float(loss))), None)


def index_of(batch: Any) -> Tensor | None:
    """Positions of a batch's images in the data set, those of nested batches one after another."""
    if not isinstance(batch, dict):
        return None
    if isinstance(batch.get("index"), Tensor):
        return batch["index"]
    parts = [found for value in batch.values() if (found := index_of(value)) is not None]
    return torch.cat(parts) if parts else None
