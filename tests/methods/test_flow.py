"""The flows' common base: shared, and not itself a method that a recipe may name."""

from __future__ import annotations

import genlab.methods
from genlab import recipes
from genlab.methods._flow import FlowMethod
from genlab.methods.glow import Glow
from genlab.methods.nice import NICE
from genlab.methods.realnvp import RealNVP


def test_it_is_the_base_of_the_flows_and_no_recipes_method() -> None:
    assert {kind.__base__ for kind in (NICE, RealNVP, Glow)} == {FlowMethod}
    named = recipes.classes("methods")
    assert {"NICE", "RealNVP", "Glow"} <= set(named)
    assert "FlowMethod" not in named
    assert "FlowMethod" not in dir(genlab.methods)
