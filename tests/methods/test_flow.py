"""The flows' common base: shared, not itself a method that a recipe may name; its figures."""

from __future__ import annotations

import pytest
import torch

import genlab.methods
from genlab import recipes
from genlab.methods._flow import FlowMethod
from genlab.methods.glow import Glow
from genlab.methods.nice import NICE
from genlab.methods.realnvp import RealNVP
from tests.methods.programs_flows import METHODS, batch, moved


def test_it_is_the_base_of_the_flows_and_no_recipes_method() -> None:
    assert {kind.__base__ for kind in (NICE, RealNVP, Glow)} == {FlowMethod}
    named = recipes.classes("methods")
    assert {"NICE", "RealNVP", "Glow"} <= set(named)
    assert "FlowMethod" not in named
    assert "FlowMethod" not in dir(genlab.methods)


@pytest.mark.parametrize("name", METHODS)
def test_validation_is_of_the_image_and_not_of_its_batch(name: str) -> None:
    """The same noise in any batch, which another image does not have."""
    method = moved(name).double().eval()
    every = batch(method, 6)
    every["image"] = every["image"].double()
    whole = method.validation_step(every, 0)["loss"]
    torch.manual_seed(9)
    parts = [
        method.validation_step({key: value[rows] for key, value in every.items()}, 0)["loss"]
        for rows in ([5, 0], [1, 4, 2, 3])
    ]
    torch.testing.assert_close((2 * parts[0] + 4 * parts[1]) / 6, whole)
    other = method.validation_step(every | {"index": every["index"] + 6}, 0)["loss"]
    assert torch.equal(other, whole) is not method.flow.pixels.quantised
