"""Draws of a task: by the batch's seed in training, by the image's position in validation."""

from __future__ import annotations

from typing import Any, cast

import torch

from genlab.augment.draws import Params, Shape, for_images
from genlab.contracts import Batch
from genlab.testing.noise import RowNoise


def draw(shape: Shape, generator: torch.Generator) -> Params:
    return {"unit": torch.rand(shape[0], generator=generator)}


def batch(rows: slice = slice(None), **more: Any) -> Batch:
    found = {"image": torch.zeros(8, 1, 4, 4)[rows], "index": torch.arange(2000, 2008)[rows]}
    return cast(Batch, found | more)


def test_training_draws_belong_to_the_seed() -> None:
    one, same, other = (for_images(draw, batch(seed=seed), True, 30)["unit"] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, for_images(draw, batch(seed=1), True, 31)["unit"])


def test_a_rank_has_its_rows_of_the_global_draw() -> None:
    whole = for_images(draw, batch(seed=1), True, 30)["unit"]
    with RowNoise({4: (torch.arange(1, 8, 2), 8)}, 0):
        half = for_images(draw, batch(slice(1, None, 2), seed=1), True, 30)["unit"]
    assert torch.equal(half, whole[1::2])


def test_data_without_a_seed_draw_from_the_global_generator() -> None:
    torch.manual_seed(3)
    one = for_images(draw, batch(), True, 30)["unit"]
    two = for_images(draw, batch(), True, 30)["unit"]
    torch.manual_seed(3)
    assert torch.equal(for_images(draw, batch(), True, 30)["unit"], one)
    assert not torch.equal(one, two)


def test_a_validation_image_keeps_its_draw_in_any_batch() -> None:
    whole = for_images(draw, batch(), False, 30)["unit"]
    assert torch.equal(for_images(draw, batch(slice(3, 6)), False, 30)["unit"], whole[3:6])
    assert len(set(whole.tolist())) == 8
