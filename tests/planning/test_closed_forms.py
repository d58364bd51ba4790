"""Arithmetic of plans against formulas on paper, to one per cent."""

from __future__ import annotations

import pytest

from tests.planning.forms import DECODER, FORMS, LAYERS, PATCHES, Form

CLOSE = 0.01


def test_the_perceptron_of_a_vae() -> None:
    assert DECODER.counted() == pytest.approx(DECODER.value, rel=CLOSE)


def test_a_vision_transformer_has_the_published_number_of_products() -> None:
    assert pytest.approx(4.61e9, rel=CLOSE) == LAYERS + PATCHES


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_networks_cost_what_their_formulas_say(form: Form) -> None:
    assert form.counted() == pytest.approx(form.value, rel=CLOSE)
