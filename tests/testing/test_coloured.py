"""Coloured images for the laws of methods that need them."""

from __future__ import annotations

from genlab import recipes
from genlab.testing.coloured import ColouredDigits
from genlab.testing.tiny import tiny


def test_they_are_coloured_and_of_the_size_asked_for() -> None:
    data = ColouredDigits(batch_size=16, val_size=50, resize=32)
    image = next(data.batches("train"))["image"]
    assert image.shape == (16, 3, 32, 32)
    assert float((image[:, 0] - image[:, 2]).abs().mean()) > 0.05


def test_a_method_asks_for_them_and_others_get_digits() -> None:
    found = tiny(recipes.resolve(["jigsaw/cifar10_small"])).config["data"]
    assert found["class_path"].endswith(".ColouredDigits")
    assert found["init_args"]["resize"] == 32
    other = tiny(recipes.resolve(["rotation/cifar10_small"])).config["data"]
    assert other["class_path"].endswith(".Digits")
