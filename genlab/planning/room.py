"""Largest batch that a GPU has room for, and changes of a recipe that make room: by fake steps."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from genlab import recipes
from genlab.errors import InputError
from genlab.planning.banks import BANK
from genlab.planning.capacity import Need, need
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
        limit: ``memory``, or what ends the search before it.
        tried: every batch that was tried, with its bytes.
    """

    images: int
    needed: int
    above: int | None
    needed_above: int | None
    limit: str
    tried: dict[int, int]


@dataclass(frozen=True)
class Change:
    """A change of a recipe that may make room.

    Args:
        settings: ``key=value`` of the command line.
        needed: bytes that it then needs.
        fits: True if the GPU has as much.
    """

    settings: tuple[str, ...]
    needed: int
    fits: bool


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
    first: tuple[int, Need],
    measure: Measure,
    gpu: Gpu,
    world: int,
    images: int | None = None,
) -> Largest:
    """Search for the largest batch of a GPU: memory grows nearly by the same for each image.

    Args:
        recipe: a resolved one.
        first: its batch on each GPU, and what that needs.
        measure: fake step of a recipe.
        gpu: the GPU.
        world: number of GPUs.
        images: number of training images; None where unknown.
    """
    known, unit = {first[0]: first[1].total}, unit_of(recipe)
    most, limit = most_of(recipe, world, images)
    live = sum(size for part, size in first[1].live.items() if part in FIXED)
    fixed = need(Step(world, 0, {"fixed": live})).total
    least = unit
    for _ in range(TRIES):
        line = _by_line({0: fixed} | known, gpu.bytes, unit, most)
        size = _next(known | line, fixed, gpu.bytes, (unit, least), most)
        if size is None:
            break
        try:
            known[size] = need(measure(with_batch(recipe, size * world))).total
        except InputError:
            if size > first[0]:
                raise
            least = size + unit
    found = known | _by_line({0: fixed} | known, gpu.bytes, unit, most)
    fitting = max((size for size, bytes_ in known.items() if bytes_ <= gpu.bytes), default=0)
    beyond = min((size for size, bytes_ in found.items() if bytes_ > gpu.bytes), default=None)
    above = None if beyond is None else found[beyond]
    return Largest(
        fitting, known.get(fitting, 0), beyond, above, limit if beyond is None else MEMORY,
        dict(sorted(known.items())),
    )  # fmt: skip


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


def changes(
    recipe: Recipe, measure: Measure, gpu: Gpu, world: int, best: Largest
) -> Iterator[Change]:
    """Changes that may make room, each tried by a fake step; impossible ones are left out.

    Args:
        recipe: a resolved one.
        measure: fake step of a recipe.
        gpu: the GPU.
        world: number of GPUs.
        best: the largest batch that fits without a change.
    """
    tried: list[dict[str, Any]] = []
    for settings in _ideas(recipe, gpu, world, best):
        tried.append(settings)
        if (found := _tried(recipe, settings, measure, gpu)) is not None:
            yield found
    cheap = {key: value for one in tried for key, value in one.items() if key in FREE}
    if len(cheap) > 1 and (found := _tried(recipe, cheap, measure, gpu)) is not None:
        yield found


PRECISION, CHECKPOINTING = "trainer.precision", "model.encoder_kwargs.grad_checkpointing"
FREE = (PRECISION, CHECKPOINTING)  # what leaves batch and images as they are


def _ideas(recipe: Recipe, gpu: Gpu, world: int, best: Largest) -> Iterator[dict[str, Any]]:
    """Settings that may make room, by their keys."""
    trainer, model = recipe.config.get("trainer") or {}, recipe.arguments("model")
    if str(trainer.get("precision", "32-true")).startswith("32") and gpu.halves:
        yield {PRECISION: "bf16-mixed" if "bf16" in gpu.halves else "16-mixed"}
    if model.get("encoder") and not (model.get("encoder_kwargs") or {}).get("grad_checkpointing"):
        yield {CHECKPOINTING: True}
    each = int(recipe.arguments("data")["batch_size"]) // world
    parts = next((n for n in range(2, each + 1) if each % n == 0 and each // n <= best.images), 0)
    if parts > parts_of(recipe):
        yield {_division(recipe): parts}
    side = recipe.arguments("data").get("image_size")
    if isinstance(side, int) and side >= 64:
        yield {"data.image_size": max(32, round(0.75 * side) // 32 * 32)}


def _division(recipe: Recipe) -> str:
    """The key that divides a batch: a method's chunks or accumulation, or the trainer's."""
    own = recipes.parameters("model", str(recipe.config["model"]["class_path"])) or ()
    keys = ("chunks", "accumulate_grad_batches")  # a loss of the whole batch has chunks
    return next((f"model.{key}" for key in keys if key in own), "trainer.accumulate_grad_batches")


def _tried(recipe: Recipe, settings: dict[str, Any], measure: Measure, gpu: Gpu) -> Change | None:
    """What a change needs; None where the method or its encoder refuses it."""
    changed = copy.deepcopy(recipe)
    for key, value in settings.items():
        _set(changed.config, key, value)
    try:
        found = need(measure(changed))
    except InputError:
        return None
    words = tuple(f"{key}={str(value).lower()}" for key, value in settings.items())
    return Change(words, found.total, found.fits(gpu))


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    group, *path, last = key.split(".")
    place = config.setdefault(group, {})
    if group in ("model", "data"):
        place = place.setdefault("init_args", {})
    for name in path:
        place[name] = dict(place.get(name) or {})
        place = place[name]
    place[last] = value
