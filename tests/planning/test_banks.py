"""The features of all training images, which some methods keep: planned at the data's size."""

from __future__ import annotations

import pytest

from genlab import recipes
from genlab.planning.banks import BANK
from genlab.planning.capacity import need
from genlab.planning.fake import fake_step
from genlab.recipes import Recipe
from tests.planning.real import real_step

FEATURES, INTEGERS, IMAGES = 512, 2, 1297  # of small_cnn; label and position; in training


def recipe_of(name: str) -> Recipe:
    return recipes.resolve([name], ["model.encoder=small_cnn"])


@pytest.mark.parametrize(("name", "held_out"), [("knn/digits", 0), ("linear/digits", 200)])
def test_a_bank_has_the_rows_of_the_data(name: str, held_out: int) -> None:
    plan, real = fake_step(recipe_of(name)), real_step(recipe_of(name))
    assert plan.memory[BANK] == (IMAGES + held_out) * (4 * FEATURES + 8 * INTEGERS)
    assert plan.peak == pytest.approx(real.peak, rel=0.03)
    assert plan.peaks["start"] == pytest.approx(real.peaks["start"], rel=0.03)


def test_the_start_decides_where_it_needs_most() -> None:
    many, recipe = 100_000, recipe_of("knn/digits")
    one, eight = fake_step(recipe, images=many), fake_step(recipe, 8, many)
    bank = many * 4 * FEATURES
    assert need(one).moment == "start"
    assert one.moments["start"][BANK] == pytest.approx(3 * bank, rel=0.01)
    assert sum(need(one).live.values()) == one.peaks["start"] > one.peak
    gathered = (2 + 3 / 8) * bank  # its share, as one, padded; those of all, and as one
    assert eight.moments["start"][BANK] == pytest.approx(gathered, rel=0.01)


def test_an_unknown_number_of_images_is_said() -> None:
    words = "model.encoder=small_cnn", "data.batch_size=8", "data.eval_batch_size=8"
    recipe = recipes.resolve(["knn/imagenet"], list(words))
    assert not fake_step(recipe).notes
    recipe.name, recipe.config["data"]["init_args"]["root"] = "mine", "nowhere"
    assert fake_step(recipe).notes == ("the bank of features is that of 50,000 images: --images N",)
