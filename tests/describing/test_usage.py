"""Recipes that name a class."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab import recipes
from genlab.describing import usage


def test_the_classes_of_every_recipe_are_those_it_resolves_to() -> None:
    for name, file in recipes.shipped().items():
        config = recipes.resolve([name]).config
        paths = [config[group]["class_path"] for group in ("model", "data")]
        paths += [one["class_path"] for one in config["trainer"]["callbacks"]]
        named = [usage.class_of(file, group) for group in ("model", "data")]
        assert named == [path.rpartition(".")[2] for path in paths[:2]], name
        assert usage.named(file) == {recipes.short(path) for path in paths}, name


def test_recipes_of_a_class() -> None:
    assert "simclr/digits" in usage.recipes_with("SimCLR")
    assert "vae/digits" not in usage.recipes_with("SimCLR")
    assert usage.recipes_with("Nothing") == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("config: vae/digits\nmodel: SimCLR\n", {"SimCLR", "Digits", "Pictures"}),
        ("config: nowhere\nmodel: {class_path: VAE}\n", {"VAE"}),
        ("config: mine.yaml\ndata: Digits\n", {"Digits"}),
        ("config: vae/digits\ntrainer:\n  callbacks:\n  - Film\n", {"VAE", "Digits", "Film"}),
        ("config: vae/digits\ntrainer:\n  callbacks+:\n  - Film\n", {"VAE", "Film", "Pictures"}),
    ],
)
def test_short_forms(text: str, names: set[str], tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    found = usage.named(file)
    assert names <= found
    assert ("Pictures" in found) is ("Pictures" in names)
