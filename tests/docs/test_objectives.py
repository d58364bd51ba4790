"""Formulas of docs/objectives, written again in float64, against what the methods minimise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.docs.formulas import (  # noqa: F401
    adversarial,
    autoencoders,
    densities,
    labelled,
    masked,
    neighbours,
    paths,
    pretext,
    self_supervised,
    tokens,
)
from tests.docs.formulas.common import FORMULAS

PAGES = Path(__file__).parents[2] / "docs" / "objectives"
TOLERANCE = 2e-5  # several losses are float32 whatever they are given


@pytest.mark.parametrize("name", FORMULAS)
def test_the_loss_is_the_pages_formula(name: str) -> None:
    found, expected = FORMULAS[name]()
    torch.testing.assert_close(found.double(), expected.double(), rtol=TOLERANCE, atol=TOLERANCE)


def test_every_page_is_evaluated() -> None:
    assert {name.partition(":")[0] for name in FORMULAS} == {page.stem for page in PAGES.glob("*")}
