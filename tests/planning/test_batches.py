"""Batches of plans have the shapes of the data's own."""

from __future__ import annotations

from typing import Any

import pytest

from genlab.data import BinaryDensity, Digits, FreyFaces, Toys
from genlab.planning.batches import eval_batch, raw_batch

SHAPES: list[tuple[Any, tuple[int, ...]]] = [
    (Digits(), (5, 1, 8, 8)),
    (Toys("two_moons"), (5, 2, 1, 1)),
    (BinaryDensity("dna"), (5, 180, 1, 1)),
    (FreyFaces(), (5, 560, 1, 1)),
]


@pytest.mark.parametrize(("data", "shape"), SHAPES, ids=lambda x: type(x).__name__)
def test_images_and_vectors_have_their_shapes(data: Any, shape: tuple[int, ...]) -> None:
    for batch in (raw_batch(data, 5), eval_batch(data, 5)):
        assert batch["image"].shape == shape
