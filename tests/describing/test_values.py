"""Values of keys in a recipe, and where they are set."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab import recipes
from genlab.describing import values
from tests.conftest import Here


@pytest.mark.parametrize(
    ("key", "value", "origin"),
    [
        ("model.temperature", 0.5, "recipes/simclr/digits.yaml"),
        ("model.optimizer.name", "adamw", "recipes/simclr/digits.yaml"),
        ("model.class_path", "SimCLR", "recipes/simclr/digits.yaml"),
        ("track.wandb", "auto", "recipes/base.yaml"),
        ("checkpoint.mode", "max", "recipes/self_supervised.yaml"),
        ("trainer.callbacks.Pictures.every_n_epochs", 10, "recipes/self_supervised.yaml"),
        ("model.ema_decay", None, ""),
        ("trainer.callbacks.Film.every_n_steps", None, ""),
    ],
)
def test_value_and_origin(key: str, value: object, origin: str) -> None:
    found = values.value_of(recipes.resolve(["simclr/digits"]), key)
    assert (found.known, found.value, found.origin) == (value is not None, value, origin)


def test_a_file_of_ones_own_is_named_from_here(here: Here) -> None:
    Path("mine.yaml").write_text("config: vae/digits\nmodel: {latent_dim: 3}\n")
    recipe = recipes.resolve(["mine.yaml"], ["model.kl_weight=2"])
    assert values.value_of(recipe, "model.latent_dim").origin == "mine.yaml"
    assert values.value_of(recipe, "model.kl_weight").origin == "the command line"
