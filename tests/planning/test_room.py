from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from genlab import recipes
from genlab.errors import InputError
from genlab.planning import changes, gpus, room
from genlab.planning.capacity import need
from genlab.planning.step import Step
from genlab.recipes import Recipe

GPU = gpus.find("a100-40")
MB = 10**6


def recipe_of(name: str = "simclr/imagenet_resnet50", *changes: str) -> Recipe:
    return recipes.resolve([name], changes)


class Measured:
    """Steps whose memory grows with the batch, and a list of the batches that were asked for."""

    def __init__(self, world: int, each: int, squared: float = 0.0, fixed: int = 500 * MB) -> None:
        self.world, self.each, self.squared, self.fixed = world, each, squared, fixed
        self.asked: list[int] = []

    def __call__(self, recipe: Recipe) -> Step:
        batch = int(recipe.arguments("data")["batch_size"]) // self.world
        self.asked.append(batch)
        trainer = recipe.config["trainer"]
        kwargs = recipe.arguments("model").get("encoder_kwargs") or {}
        each = self.each * (0.3 if kwargs.get("grad_checkpointing") else 1)
        each *= (recipe.arguments("data").get("image_size", 224) / 224) ** 2
        each *= 1 if trainer.get("precision") == "bf16-mixed" else 2
        live = each * batch / room.parts_of(recipe) + self.squared * batch**2
        return Step(self.world, batch, {"parameters": self.fixed, "activations": int(live)})


def search(measured: Measured, start: int, recipe: Recipe, **options: Any) -> room.Largest:
    world = measured.world
    first = start, measured(room.with_batch(recipe, start * world))
    return room.largest(recipe, first, measured, GPU, world, **options)


@pytest.mark.parametrize("start", [2, 128, 380, 1024])
@pytest.mark.parametrize("squared", [0.0, 2000.0])
def test_the_largest_batch_fits_and_five_percent_more_does_not(start: int, squared: float) -> None:
    measured = Measured(32, 90 * MB, squared)
    best = search(measured, start, recipe_of())
    assert best.above is not None
    assert best.needed_above is not None
    assert best.images < best.above <= max(best.images * 1.05, best.images + 1)
    assert best.needed <= GPU.bytes < best.needed_above
    assert len(measured.asked) <= 3 + 2 * (squared > 0)
    assert best.limit == room.MEMORY


class Heavy(Measured):
    """Steps with activations that do not grow with the batch, as products of weights."""

    def __call__(self, recipe: Recipe) -> Step:
        step = super().__call__(recipe)
        return dataclasses.replace(step, memory=step.memory | {"temporary": 300 * MB})


@pytest.mark.parametrize(
    ("measured", "steps"),
    [(Measured(32, 90 * MB), 2), (Heavy(32, 50 * MB), 3), (Measured(32, 30 * MB, 60_000.0), 7)],
)
def test_a_line_through_three_batches_spares_a_step(measured: Measured, steps: int) -> None:
    best = search(measured, 2, recipe_of())
    assert len(measured.asked) <= steps
    assert best.above is not None
    assert (best.above in measured.asked) == (measured.squared > 0)
    above = need(measured(room.with_batch(recipe_of(), best.above * 32))).total
    assert GPU.bytes < above == pytest.approx(best.needed_above, rel=0.005)


def test_nothing_fits() -> None:
    best = search(Measured(1, 90 * MB, fixed=50_000 * MB), 4, recipe_of())
    assert (best.images, best.above) == (0, 1)


def test_a_method_that_refuses_a_single_image_is_not_asked_for_less() -> None:
    measured = Measured(1, 90 * MB, fixed=50_000 * MB)

    class Pairs(Measured):
        def __call__(self, recipe: Recipe) -> Step:
            if recipe.arguments("data")["batch_size"] < 2:
                raise InputError("a batch needs at least two images")
            return measured(recipe)

    best = search(Pairs(1, 0), 4, recipe_of())
    assert (best.images, best.above) == (0, 2)


def test_batches_grow_by_what_divides_them() -> None:
    changed = recipe_of(
        "moco/imagenet100", "model.bn_splits=8", "trainer.accumulate_grad_batches=2"
    )
    best = search(Measured(1, 200 * MB), 16, changed)
    assert best.images % 16 == 0
    assert best.above == best.images + 16


@pytest.mark.parametrize(
    ("name", "changes", "images", "most", "limit"),
    [
        ("vae/digits", [], 1297, 1297 // 2, "the number of training images"),
        ("fixmatch/cifar10_250", [], 45_000, 45_000 // 14, "the number of training images"),
        ("fixmatch/cifar10_supervised", [], 45_000, float("inf"), room.MEMORY),
        ("simclr/imagenet_resnet50", [], None, float("inf"), room.MEMORY),
    ],
)
def test_other_limits(
    name: str, changes: list[str], images: int | None, most: float, limit: str
) -> None:
    assert room.most_of(recipe_of(name, *changes), 2, images) == (most, limit)


def test_a_limit_ends_the_search() -> None:
    measured = Measured(1, MB)
    best = search(measured, 64, recipe_of("vae/digits"), images=1297)
    assert (best.images, best.above, best.limit) == (1297, None, "the number of training images")
    assert len(measured.asked) == 2


@pytest.mark.parametrize("most", [100, 400, 5000])
def test_a_batch_that_the_method_refuses_ends_the_search_with_its_reason(most: int) -> None:
    measured = Measured(1, MB)

    def measure(changed: Recipe) -> Step:
        if (size := int(changed.arguments("data")["batch_size"])) > most:
            raise InputError(f"queue_size {most} is less than the {size} keys of a step")
        return measured(changed)

    best = room.largest(
        recipe_of(), (64, measured(room.with_batch(recipe_of(), 64))), measure, GPU, 1
    )
    assert most / 1.05 - 1 <= best.images <= most
    assert best.above is None
    assert best.limit.startswith(f"queue_size {most} is less than the ")


def validated(step: Step, size: int) -> Step:
    return dataclasses.replace(step, moments={"validation": {"activations": size}})


def test_a_validation_that_does_not_fit_leaves_no_batch_and_names_its_setting() -> None:
    recipe, whole = recipe_of(), 60_000 * MB

    def measure(changed: Recipe) -> Step:
        share = changed.arguments("data").get("eval_batch_size", 512) / 512
        return validated(Step(8, 16, {"activations": MB}), int(whole * share))

    step = measure(recipe)
    best = room.largest(recipe, (16, step), measure, GPU, 8)
    assert (best.images, best.limit) == (0, "validation")
    first, *_ = changes.changes(recipe, measure, GPU, 8, best, need(step))
    (setting,) = first.settings
    name, _, size = setting.partition("=")
    assert name == "data.eval_batch_size"
    assert int(size) % 8 == 0
    assert first.fits


def test_a_validation_that_needs_more_than_a_step_does_not_mislead_the_search() -> None:
    measured = Measured(32, 90 * MB)
    alone = search(measured, 2, recipe_of())

    def measure(changed: Recipe) -> Step:
        return validated(measured(changed), 30_000 * MB)

    first = measure(room.with_batch(recipe_of(), 64))
    best = room.largest(recipe_of(), (2, first), measure, GPU, 32)
    assert (best.images, best.above) == (alone.images, alone.above)


def changes_of(recipe: Recipe, measured: Measured, start: int) -> dict[tuple[str, ...], bool]:
    best = search(measured, start, recipe)
    given = room.with_batch(recipe, start * measured.world)
    before = copy.deepcopy(given)
    found = changes.changes(given, measured, GPU, measured.world, best)
    fits = {change.settings: change.fits for change in found}
    assert given == before
    return fits


def test_what_makes_room() -> None:
    recipe = recipe_of("byol/imagenet_resnet50", "trainer.precision=32-true")
    fits = changes_of(recipe, Measured(8, 90 * MB), 1024)
    checkpointing = "model.encoder_kwargs.grad_checkpointing=true"
    assert fits == {
        ("trainer.precision=bf16-mixed",): False,
        (checkpointing,): False,
        ("trainer.accumulate_grad_batches=8",): True,
        ("data.image_size=160",): False,
        ("trainer.precision=bf16-mixed", checkpointing): True,
    }


def test_a_contrastive_loss_needs_its_whole_batch() -> None:
    fits = changes_of(recipe_of(), Measured(8, 90 * MB), 1024)
    assert not any("accumulate" in word for words in fits for word in words)
    assert any(word.startswith("model.chunks=") for words in fits for word in words)


def test_a_refused_change_is_left_out() -> None:
    def refusing(recipe: Recipe) -> Step:
        model = recipe.arguments("model")
        if model["encoder_kwargs"].get("grad_checkpointing") or "chunks" in model:
            raise InputError("has no grad_checkpointing, or batch norm")
        return measured(recipe)

    measured = Measured(8, 90 * MB)
    best = search(measured, 128, recipe_of())
    found = list(changes.changes(recipe_of(), refusing, GPU, 8, best))
    assert [change.settings for change in found] == [("data.image_size=160",)]


def test_a_gan_accumulates_by_itself() -> None:
    fits = changes_of(recipe_of("wgan_gp/cifar10"), Measured(1, 90 * MB), 512)
    assert any(word.startswith("model.accumulate_grad_batches=") for (word, *_) in fits)
