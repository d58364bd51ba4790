"""Largest batch that a GPU has room for, by fake steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from genlab.errors import InputError
from genlab.planning.banks import BANK
from genlab.planning.capacity import need
from genlab.planning.gpus import Gpu
from genlab.planning.length import arguments
from genlab.planning.step import Step
from genlab.recipes import Recipe

Measure = Callable[[Recipe], Step]
TRIES = 8
MEMORY = "memory"
MORE = 1.05  # a batch that does not fit is at most so much larger than the one that is named
NEAR = 1.02
AIM = 0.995  # of the GPU's memory
APART, EXACT, SURE = 0.9, 0.005, 1.01  # of a line: ratio of batches, error, need over the room
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
        needed_above: bytes that this one needs; see `_by_line`.
        limit: ``memory``, or what ends the search before it: another moment, where that does not
            fit whatever the batch.
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
    """Largest batch of a GPU that anything but memory allows, and what that is.

    Args:
        recipe: a resolved one.
        world: number of GPUs.
        images: number of training images; None where unknown.
    """
    given, model = arguments(recipe), recipe.arguments("model")
    ratio, found = int(given.get("unlabeled_ratio") or 0), [(math.inf, MEMORY)]
    if images is not None and (given.get("labels") is None or ratio):
        found.append((images // max(1, ratio) // world, "the number of training images"))
    if model.get("queue_size"):
        keys = world * (2 if model.get("symmetric") else 1)
        found.append((int(model["queue_size"]) // keys, "model.queue_size"))
    return min(found)


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
    known, unit = {first[0]: _total(first[1])}, unit_of(recipe)
    most, limit = most_of(recipe, world, images)
    fixed = _total(first[1], fixed_parts(first[1].memory))
    if others and others[worst] > gpu.bytes >= fixed:
        return Largest(0, 0, None, None, worst, {})
    least = unit
    for _ in range(TRIES):
        line = _by_line({0: fixed} | known, gpu.bytes, unit, most)
        size = _next(known | line, fixed, gpu.bytes, (unit, least), most)
        if size is None:
            break
        try:
            known[size] = _total(measure(with_batch(recipe, size * world)))
        except InputError:
            if size > first[0]:
                raise
            least = size + unit
    found = known | _by_line({0: fixed} | known, gpu.bytes, unit, most)
    fitting = max((size for size, bytes_ in known.items() if bytes_ <= gpu.bytes), default=0)
    beyond = min((size for size, bytes_ in found.items() if bytes_ > gpu.bytes), default=None)
    above = None if beyond is None else found[beyond]
    return Largest(
        fitting, max(known.get(fitting, 0), *others.values(), 0), beyond, above,
        limit if beyond is None else MEMORY, dict(sorted(known.items())),
    )  # fmt: skip


def _total(step: Step, parts: dict[str, int] | None = None) -> int:
    """Bytes that a GPU needs for a step alone, or for another moment's parts."""
    return need(replace(step, memory=step.memory if parts is None else parts, moments={})).total


def fixed_parts(parts: dict[str, int]) -> dict[str, int]:
    """Parts that do not grow with the batch."""
    return {name: size for name, size in parts.items() if name in FIXED}


def _next(
    known: dict[int, int], fixed: int, room: int, steps: tuple[int, int], most: float
) -> int | None:
    """The next batch to try; None where the largest is found.

    Args:
        known: bytes by batch.
        fixed: bytes that an empty batch would need.
        room: bytes of the GPU.
        steps: images by which a batch can grow, and those of the smallest.
        most: largest batch.
    """
    unit, least = steps
    fitting = max((size for size, needed in known.items() if needed <= room), default=0)
    failing = min((size for size, needed in known.items() if needed > room), default=None)
    above = _above(fitting, unit)
    limit = most if math.isinf(most) else most // unit * unit
    if fitting >= limit or (failing is not None and failing <= (above if fitting else least)):
        return None
    points, aim = {0: fixed} | known, int(room * AIM)
    guess = _guess(points, aim)
    if failing is not None and guess >= failing:
        guess = _guess({size: points[size] for size in (fitting, failing)}, aim)
    guess = guess // unit * unit
    if fitting and guess <= NEAR * fitting:
        guess = above
    highest = limit if failing is None else failing - unit
    return int(max(fitting + unit, least, min(guess, highest)))


def _above(fitting: int, unit: int) -> int:
    """A batch at most 5 % larger, or the next one."""
    return max(fitting + unit, math.floor(fitting * MORE / unit) * unit)


def _by_line(known: dict[int, int], room: int, unit: int, most: float) -> dict[int, int]:
    """What the batch above the largest that fits needs, where three known ones lie on a line.

    Args:
        known: bytes by batch, with those of an empty one.
        room: bytes of the GPU.
        unit: images by which a batch can grow.
        most: largest batch.

    Returns:
        nothing where they do not, or where the line says that it may fit.
    """
    last = max(size for size, needed in known.items() if needed <= room or not size)
    far = sorted(size for size in known if size <= APART * last)[-2:]
    above = _above(last, unit)
    if len(far) < 2 or above > most:
        return {}
    slopes = [(known[last] - known[size]) / (last - size) for size in far]
    off = abs(known[last] - slopes[0] * (last - far[1]) - known[far[1]])
    needed = int(known[last] + min(slopes) * (above - last))
    return {above: needed} if off <= EXACT * known[last] and needed > SURE * room else {}


def _guess(known: dict[int, int], room: int) -> int:
    """Batch that would fill the room, on the line through the two known ones nearest to it."""
    nearest = sorted(known, key=lambda size: abs(known[size] - room))[:2]
    (small, less), (large, more) = ((size, known[size]) for size in sorted(nearest))
    each = max(1.0, (more - less) / (large - small))
    return max(1, int(small + (room - less) / each))
