"""Largest batch that a GPU has room for, by fake steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from genlab.errors import InputError, first_line
from genlab.planning.banks import BANK
from genlab.planning.capacity import need
from genlab.planning.gpus import Gpu
from genlab.planning.length import arguments
from genlab.planning.search import Search
from genlab.planning.step import Step
from genlab.recipes import Recipe

Measure = Callable[[Recipe], Step]
TRIES = 12
MEMORY = "memory"
FIXED = (  # parts that do not grow with the batch
    "parameters", "momentum copies", "gradients", "gradient buckets", "optimiser state", "queue",
    "buffers", "guard", BANK, "metrics",
)  # fmt: skip


@dataclass(frozen=True)
class Largest:
    """The largest batch of a GPU that fits.

    Args:
        images: share of ``data.batch_size`` on each GPU; 0 where not even the smallest fits.
        needed: bytes that it needs.
        above: a batch at most 5 % larger (or one step up), which does not fit; None where
            something else is the limit.
        needed_above: bytes that this one needs; measured, or at least, see `Search`.
        limit: ``memory``, or what ends the search before it: the number of images, the method's
            reason to refuse a larger batch, or another moment, where that does not fit whatever
            the batch.
        tried: every batch that was tried, with its bytes.
    """

    images: int
    needed: int
    above: int | None
    needed_above: int | None
    limit: str
    tried: dict[int, int]


def with_batch(recipe: Recipe, size: int) -> Recipe:
    """The recipe with another global batch."""
    changed = copy.deepcopy(recipe)
    changed.config["data"].setdefault("init_args", {})["batch_size"] = size
    return changed


def parts_of(recipe: Recipe) -> int:
    """Batches that an optimiser step accumulates."""
    return int((recipe.config.get("trainer") or {}).get("accumulate_grad_batches", 1))


def unit_of(recipe: Recipe) -> int:
    """Images by which the batch of a GPU can grow: batches and groups of equal size."""
    return parts_of(recipe) * int(recipe.arguments("model").get("bn_splits") or 1)


def most_of(recipe: Recipe, world: int, images: int | None) -> tuple[float, str]:
    """Largest batch of a GPU that the data allow, and what limits it.

    Args:
        recipe: a resolved one.
        world: number of GPUs.
        images: number of training images; None where unknown.
    """
    given = arguments(recipe)
    ratio = int(given.get("unlabeled_ratio") or 0)
    if images is None or (given.get("labels") is not None and not ratio):
        return math.inf, MEMORY
    return images // max(1, ratio) // world, "the number of training images"


def largest(
    recipe: Recipe,
    first: tuple[int, Step],
    measure: Measure,
    gpu: Gpu,
    world: int,
    images: int | None = None,
) -> Largest:
    """Search for the largest batch of a GPU: memory grows nearly by the same for each image.

    Args:
        recipe: a resolved one.
        first: its batch on each GPU, and its step.
        measure: fake step of a recipe.
        gpu: the GPU.
        world: number of GPUs.
        images: number of training images; None where unknown.
    """
    others = {name: _total(first[1], parts) for name, parts in first[1].moments.items()}
    worst = max(others, key=lambda name: others[name], default=MEMORY)
    most, limit = most_of(recipe, world, images)
    fixed = _total(first[1], fixed_parts(first[1].memory))
    if others and others[worst] > gpu.bytes >= fixed:
        return Largest(0, 0, None, None, worst, {})
    search = Search(fixed, gpu.bytes, unit_of(recipe), most, {first[0]: _total(first[1])})
    limit = _fill(search, lambda size: _total(measure(with_batch(recipe, size * world)))) or limit
    above, needed_above = search.beyond or (None, None)
    needed = max(search.known.get(search.fitting, 0), *others.values(), 0)
    return Largest(
        search.fitting, needed, above, needed_above,
        limit if above is None else MEMORY, dict(sorted(search.known.items())),
    )  # fmt: skip


def _fill(search: Search, needed: Callable[[int], int]) -> str:
    """Try batches until the largest is found; one that the method refuses is left out.

    Returns:
        why the method refuses a batch that is larger than the first; empty if it does not.
    """
    first, reason = max(search.known), ""
    for _ in range(TRIES):
        if (size := search.next()) is None:
            break
        try:
            search.known[size] = needed(size)
        except InputError as error:
            if size > first:
                search.refused, reason = size, first_line(error)
            else:
                search.least = size + search.unit
    return reason


def _total(step: Step, parts: dict[str, int] | None = None) -> int:
    """Bytes that a GPU needs for a step alone, or for another moment's parts."""
    return need(replace(step, memory=step.memory if parts is None else parts, moments={})).total


def fixed_parts(parts: dict[str, int]) -> dict[str, int]:
    """Parts that do not grow with the batch."""
    return {name: size for name, size in parts.items() if name in FIXED}
