"""Plan of a recipe on a number of GPUs: one fake step, put together with what is published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from genlab.data.sampling import check_share
from genlab.errors import RecipeError
from genlab.planning import changes, gpus, hours, loading, room
from genlab.planning.capacity import Need, need
from genlab.planning.gpus import Peak
from genlab.planning.hours import Cluster, Hours, Times
from genlab.planning.length import Length, arguments, length
from genlab.planning.loading import Loading
from genlab.planning.step import Step
from genlab.recipes import Recipe

ESTIMATE = "estimate: no GPU has run this"


@dataclass(frozen=True)
class Plan:
    """Needs of a training, and its length in time.

    Args:
        recipe: its name.
        cluster: the GPUs.
        batch: ``data.batch_size`` on each GPU.
        precision: ``trainer.precision``.
        peak: arithmetic of a GPU in it.
        step: cost of an optimiser step on a GPU.
        need: memory of a GPU.
        largest: largest batch that fits.
        changes: those that would make room.
        length: images and steps.
        loading: speed of the loader; None where it was not measured.
        times: bounds of a step.
        hours: length in time.
    """

    recipe: str
    cluster: Cluster
    batch: int
    precision: str
    peak: Peak
    step: Step
    need: Need
    largest: room.Largest
    changes: list[changes.Change]
    length: Length
    loading: Loading | None
    times: Times
    hours: Hours

    @property
    def fits(self) -> bool:
        """True if every GPU has the memory."""
        return self.need.fits(self.cluster.gpu)

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON knows it."""
        found = asdict(self) | {"note": ESTIMATE, "fits": self.fits}
        found["cluster"] |= {"world": self.cluster.world, "link_gb_per_s": self.cluster.link}
        found["need"]["total"] = self.need.total
        if not self.fits:
            found["hours"] = None
        found["step"]["peak"] = self.step.peak
        found["step"]["peaks"] = self.step.peaks
        found["times"] |= {"on_gpu": self.times.on_gpu, "step": self.times.step,
                           "binds": self.times.binds}  # fmt: skip
        for row, one in zip(found["step"]["collectives"], self.step.collectives, strict=True):
            row |= {"sent": hours.sent(one), "seconds": hours.seconds_of(one, self.cluster),
                    "grows": hours.growth(one, self.step)}  # fmt: skip
        found["assumptions"] = {name: asdict(one) for name, one in gpus.assumptions().items()}
        return found


def share(recipe: Recipe, world: int) -> int:
    """``data.batch_size`` of each GPU.

    Raises:
        RecipeError: the GPUs cannot share it.
    """
    size, parts = arguments(recipe).get("batch_size"), room.parts_of(recipe)
    where = f"{recipe.origin('data.init_args.batch_size')}, data.batch_size"
    if not isinstance(size, int) or size < 1:
        raise RecipeError(f"data.batch_size {size!r} is not a number of images", where)
    try:
        check_share(size, world, parts)
    except ValueError as error:
        raise RecipeError(str(error), where) from None
    return size // world


def check_images(recipe: Recipe, images: int | None) -> None:
    """Refuse a global batch that exceeds the training images, as ``fit`` does.

    Raises:
        RecipeError: it does.
    """
    given = arguments(recipe)
    size, ratio = int(given["batch_size"]), int(given.get("unlabeled_ratio") or 0)
    if images is None or (given.get("labels") is not None and not ratio):
        return
    if size * max(ratio, 1) > images:
        whole = f"unlabeled_ratio {ratio} x batch_size {size}" if ratio else f"batch_size {size}"
        where = f"{recipe.origin('data.init_args.batch_size')}, data.batch_size"
        raise RecipeError(f"{whole} exceeds the {images} training images", where)


def plan(
    recipe: Recipe,
    cluster: Cluster,
    *,
    images: int | None = None,
    make_room: bool = False,
    told: Callable[[str], None] = lambda line: None,
) -> Plan:
    """Plan of a recipe.

    Args:
        recipe: a resolved one.
        cluster: the GPUs.
        images: number of training images; None for what is known.
        make_room: True to look for changes that make room where it fits, too.
        told: receiver of a line about what is done next, for it takes time.

    Raises:
        InputError: a recipe that does not build, or a batch that cannot be shared.
    """
    from genlab.planning.fake import fake_step

    batch = share(recipe, cluster.world)
    told("a step without values ...")
    step = fake_step(recipe, cluster.world, images)
    needed = need(step)
    size = length(recipe, images, _batches(recipe, step))
    check_images(recipe, size.images)
    measure = partial(fake_step, world=cluster.world, images=size.images)
    alone = partial(measure, validate=False)
    told("the largest batch ...")
    best = room.largest(recipe, (batch, step), alone, cluster.gpu, cluster.world, size.images)
    found: list[changes.Change] = []
    if make_room or not needed.fits(cluster.gpu):
        told("what would make room ...")
        found = list(changes.changes(recipe, measure, cluster.gpu, cluster.world, best, needed))
    told("images from the loader ...")
    loader = loading.measure(recipe, size.images)
    return assemble(recipe, cluster, batch, step, best, found, size, loader)


def assemble(
    recipe: Recipe,
    cluster: Cluster,
    batch: int,
    step: Step,
    best: room.Largest,
    changes: list[changes.Change],
    size: Length,
    loader: Loading | None,
) -> Plan:
    """The plan from its counted and measured parts."""
    precision = str((recipe.config.get("trainer") or {}).get("precision") or "32-true")
    peak = gpus.peak(cluster.gpu, precision, 2 * step.convolved > sum(step.flops.values()))
    rate = None if loader is None else loader.images_per_second * loader.cores(cluster.cores)
    times = hours.times(step, cluster, peak, rate)
    return Plan(
        recipe.name, cluster, batch, precision, peak, step, need(step), best, changes, size,
        loader, times, hours.hours(step, times.step, size),
    )  # fmt: skip


def _batches(recipe: Recipe, step: Step) -> int:
    """Global batches of an optimiser step: those of a GAN's critic."""
    given = arguments(recipe)
    each = int(given["batch_size"]) * (1 + int(given.get("unlabeled_ratio") or 0))
    return max(1, step.images * step.world // each)
