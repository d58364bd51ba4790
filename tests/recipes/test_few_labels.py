"""Recipes of few labels: the labels that they name are all that the result depends on."""

from __future__ import annotations

import pytest

from genlab import recipes

NAMES = [name for name in recipes.shipped() if name.startswith(("vat/", "mean_teacher/", "m2/"))]


@pytest.mark.parametrize("name", [*NAMES, "fixmatch/mnist_100"])
def test_no_further_labels_select_the_checkpoint(name: str) -> None:
    config = recipes.resolve([name]).config
    assert config["checkpoint"]["monitor"] is None
    assert config["data"]["init_args"]["labels"] in (40, 100)


@pytest.mark.parametrize("name", NAMES)
def test_a_cost_is_measured_or_a_guess(name: str) -> None:
    head = recipes.head(recipes.shipped()[name])
    assert head.measured or "(a guess" in head.cost
