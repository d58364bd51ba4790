"""Batches of two streams, labelled and unlabelled images, for a given number of steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from typing import Any

import torch
from torch import Tensor

from genlab.data.loader import Batch, Draws, Resumable, Source, batch_seed, read

LABELED, UNLABELED = 0, 1  # streams of one seed


@dataclass(frozen=True)
class Plan:
    """Composition of a batch from the two streams.

    Args:
        ratio: mu, unlabelled images for each labelled one; 0 for labelled images alone.
        steps_per_epoch: optimiser steps from one validation to the next.
        exclude_labeled: True to leave the labelled images out of the unlabelled ones.

    Raises:
        ValueError: a value out of range.
    """

    ratio: int = 0
    steps_per_epoch: int = 1024
    exclude_labeled: bool = False

    def __post_init__(self) -> None:
        if self.ratio < 0 or self.steps_per_epoch < 1:
            raise ValueError(
                f"unlabeled_ratio {self.ratio} must be at least 0 and "
                f"steps_per_epoch {self.steps_per_epoch} at least 1"
            )


class Both:
    """Reads pairs of rows, labelled and unlabelled, from one source.

    Args:
        source: the images.
    """

    def __init__(self, source: Source) -> None:
        self.source = source

    def read_cut(self, pairs: Sequence[tuple[Tensor, Tensor]], draws: Draws) -> Iterator[Batch]:
        """For each pair of rows ``labeled`` and ``unlabeled``, each ``image label index``."""
        one, other = tee(draws.seeds)
        first = replace(draws, seeds=one, part="labeled")
        second = replace(draws, seeds=other, part="unlabeled")
        labeled = read(self.source, (pair[LABELED] for pair in pairs), first)
        unlabeled = read(self.source, (pair[UNLABELED] for pair in pairs), second)
        for one_part, other_part in zip(labeled, unlabeled, strict=True):
            yield {"labeled": one_part, "unlabeled": other_part}


class SemiLoader(Resumable):
    """A given number of batches, however few images there are; resumes at any batch.

    The images of a stream are numbered: one permutation of the set after the other, fixed by the
    seed. Batch k of the run takes the k-th stretch of both, of which rank r of W holds every W-th:
    the global batch is the same for every number of processes. Labelled images come again within a
    batch that is larger than their set; an unlabelled permutation leaves its incomplete last
    stretch out, so that no image is twice in a batch, whatever the rank.

    Args:
        source: the images.
        labeled: rows whose labels may be used, (n,) int64.
        unlabeled: rows of the unlabelled images, (N,) int64.
        batch_size: labelled images a batch over all ranks.
        plan: composition of a batch.
        parts: batches of an optimiser step.
        seed: seed of the order; None for that of ``seed_everything``.
        rank, world: this process among those that train together.
        labels: fingerprint of the selected labels; resuming with another is refused.

    Raises:
        ValueError: a batch that the ranks cannot share, or unlabelled images for less than one.
    """

    def __init__(
        self,
        source: Source,
        labeled: Tensor,
        unlabeled: Tensor,
        batch_size: int,
        plan: Plan,
        *,
        parts: int = 1,
        seed: int | None = None,
        rank: int = 0,
        world: int = 1,
        labels: str = "",
    ) -> None:
        many = plan.ratio * batch_size
        if batch_size % world:
            raise ValueError(f"batch_size {batch_size} is not divisible by {world} processes")
        if many > len(unlabeled):
            raise ValueError(
                f"unlabeled_ratio {plan.ratio} x batch_size {batch_size} = {many} exceeds the "
                f"{len(unlabeled)} unlabelled images"
            )
        super().__init__(Both(source) if many else source, seed, rank, world)
        self.labeled, self.unlabeled, self.labels = labeled, unlabeled, labels
        self.batch_size, self.plan, self.parts = batch_size, plan, parts

    def __len__(self) -> int:
        return self.plan.steps_per_epoch * self.parts

    def batches(self, epoch: int) -> Sequence[Any]:
        """This rank's rows of every batch of an epoch: pairs, or labelled ones alone."""
        first, many = epoch * len(self), self.plan.ratio * self.batch_size
        labeled = self._share(self.labeled, LABELED, first, self.batch_size)
        if not many:
            return labeled
        whole = len(self.unlabeled) // many * many
        return list(zip(labeled, self._share(self.unlabeled, UNLABELED, first, many, whole),
                        strict=True))  # fmt: skip

    def check_state(self, state: dict[str, Any]) -> None:
        """True if this loader can go on from ``state``.

        Raises:
            ValueError: another choice of labels, at any time; in mid-epoch another world size,
                batch or seed.
        """
        if state.get("labels") != self.labels:
            raise ValueError(
                "the checkpoint was trained with other labels: using different labels would exceed "
                "the label budget; set data.labels to the labels.json of its run"
            )
        super().check_state(state)

    def _share(
        self, rows: Tensor, which: int, first: int, size: int, turn: int | None = None
    ) -> list[Tensor]:
        """This rank's part of batches ``first`` ... of one stream, for an epoch.

        Args:
            rows: the set.
            which: number of the stream.
            first: number of the batch in the run.
            size: images a batch over all ranks.
            turn: number of images used of a permutation; None for all.
        """
        numbers = stream(rows, first * size, len(self) * size, self.seed, which, turn)
        return [batch[self.rank :: self.world] for batch in numbers.split(size)]

    def _shape(self) -> dict[str, Any]:
        return {
            "world": self.world,
            "batch_size": self.batch_size,
            "size": len(self.unlabeled),
            "seed": self.seed,
            "unlabeled_ratio": self.plan.ratio,
            "steps_per_epoch": self.plan.steps_per_epoch,
            "labels": self.labels,
        }


def stream(
    rows: Tensor, first: int, count: int, seed: int, which: int, turn: int | None = None
) -> Tensor:
    """Images ``first``, ``first + 1`` ... of an endless stream, ``count`` of them.

    Args:
        rows: rows of the set, (N,) int64.
        first: number of the first image in the stream.
        count: number of images.
        seed: seed of the run.
        which: number of the stream.
        turn: number of images used of each permutation; None for all N.
    """
    parts, turn = [], len(rows) if turn is None else turn
    while count:
        number, start = divmod(first, turn)
        generator = torch.Generator().manual_seed(batch_seed(seed, number, which))
        order = torch.randperm(len(rows), generator=generator)[:turn]
        parts.append(rows[order[start : start + count]])
        first, count = first + len(parts[-1]), count - len(parts[-1])
    return torch.cat(parts)
