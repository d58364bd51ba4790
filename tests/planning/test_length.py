from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from genlab import recipes
from genlab.planning.length import Length, length, training_images


def of(name: str, *changes: str, images: int | None = None) -> Length:
    return length(recipes.resolve([name], changes), images)


@pytest.mark.parametrize(
    ("name", "changes", "images", "epoch", "steps"),
    [
        ("vae/digits", [], 1297, 20, 3000),
        ("vae/digits", ["data.limit=640", "trainer.max_steps=50"], 640, 10, 50),
        ("classifier/cifar10", ["data.folds=5"], 40_000, 156, 780),
        ("simclr/stl10", [], 104_500, 204, 40_800),
        ("fixmatch/cifar10_250", [], 45_000, 1024, 2**20),
        ("glow/two_moons", ["data.size=5120"], 5120, 10, 200),
        ("glow/two_moons", ["data=BSDS300", "data.patches=5120"], 5120, 10, 200),
        ("glow/two_moons", ["data=BinaryDensity", "data.kind=dna"], 1600, 3, 60),
        ("vae/digits", ["trainer.limit_train_batches=0.5"], 1297, 10, 1500),
        ("vae/digits", ["trainer.limit_train_batches=3"], 1297, 3, 450),
    ],
)
def test_the_recipe_says_images_and_steps(
    name: str, changes: list[str], images: int, epoch: int, steps: int
) -> None:
    found = of(name, *changes)
    assert (found.images, found.epoch, found.steps) == (images, epoch, steps)


def test_the_title_names_a_set_that_is_elsewhere(tmp_path: Path) -> None:
    away = f"data.root={tmp_path}/none"
    found = of("simclr/imagenet_resnet50", away)
    assert found.images == 1_281_167 - 10_000
    assert "title" in found.source
    unknown = of("simclr/imagenet100", away)
    assert (unknown.images, unknown.steps) == (None, None)
    assert "--images N" in unknown.source
    assert of("simclr/imagenet100", away, images=12_800).steps == 100 * 400


def test_images_that_are_here_are_counted(tmp_path: Path) -> None:
    for number in range(20):
        place = tmp_path / f"c{number % 2}"
        place.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(place / f"{number}.png")
    changes = [f"data.root={tmp_path}", "data.batch_size=2", "data.val_size=4"]
    recipe = recipes.resolve(["simclr/imagenet100"], changes)
    assert training_images(recipe) == (16, "the data")


def test_an_endless_training_has_no_length() -> None:
    endless = of("vae/digits", "trainer.max_epochs=-1")
    assert (endless.steps, endless.limit) == (None, "nothing ends it")


def test_a_gan_takes_several_batches_a_step() -> None:
    found = length(recipes.resolve(["wgan_gp/digits"]), batches=5)
    assert (found.epoch, found.steps) == (4.0, 2500)
