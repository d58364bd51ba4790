"""Changes of a recipe that make room on a GPU, each tried by a fake step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from genlab import recipes
from genlab.errors import InputError
from genlab.planning.capacity import Need, need
from genlab.planning.gpus import Gpu
from genlab.planning.length import arguments
from genlab.planning.room import Largest, Measure, fixed_parts, parts_of
from genlab.planning.step import VALIDATION
from genlab.recipes import Recipe


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


def changes(
    recipe: Recipe,
    measure: Measure,
    gpu: Gpu,
    world: int,
    best: Largest,
    needed: Need | None = None,
) -> Iterator[Change]:
    """Changes that may make room, each tried by a fake step; impossible ones are left out.

    Args:
        recipe: a resolved one.
        measure: fake step of a recipe.
        gpu: the GPU.
        world: number of GPUs.
        best: the largest batch that fits without a change.
        needed: memory of the recipe, without a change.
    """
    if needed is not None and needed.moment == VALIDATION:
        found = _tried(recipe, {EVAL: _smaller_eval(recipe, needed, gpu, world)}, measure, gpu)
        yield from [] if found is None else [found]
    tried: list[dict[str, Any]] = []
    for settings in _ideas(recipe, gpu, world, best):
        tried.append(settings)
        if (found := _tried(recipe, settings, measure, gpu)) is not None:
            yield found
    cheap = {key: value for one in tried for key, value in one.items() if key in FREE}
    if len(cheap) > 1 and (found := _tried(recipe, cheap, measure, gpu)) is not None:
        yield found


EVAL = "data.eval_batch_size"
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


def _smaller_eval(recipe: Recipe, needed: Need, gpu: Gpu, world: int) -> int:
    """Images of a validation's batch on all GPUs that may have room, by proportion."""
    grows = sum(needed.live.values()) - sum(fixed_parts(needed.live).values())
    share = min(0.5, max(0.0, 0.9 * (1 - (needed.total - gpu.bytes) / max(1, grows))))
    return max(1, int(share * int(arguments(recipe)["eval_batch_size"])) // world) * world


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
