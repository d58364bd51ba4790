"""Bernoulli pixels: right chances, own seed, same draw whatever the number of processes."""

from __future__ import annotations

import pytest
import torch

from genlab.augment import binarize
from tests.conftest import TwoRanks


@pytest.mark.parametrize("value", [1, 64, 128, 254])
def test_a_pixel_is_white_as_often_as_it_is_bright(value: int) -> None:
    drawn = binarize(torch.full((100, 1, 64, 64), value, dtype=torch.uint8), seed=1)
    spread = (value / 255 * (1 - value / 255) / drawn.numel()) ** 0.5
    assert abs((drawn == 255).double().mean().item() - value / 255) < 5 * spread


def test_only_black_and_white_and_those_are_certain() -> None:
    image = torch.tensor([0, 255, 100], dtype=torch.uint8).repeat(4096, 100)
    drawn = binarize(image, seed=2).view(-1, 3)
    assert drawn.unique().tolist() == [0, 255]
    assert (drawn[:, 0] == 0).all()
    assert (drawn[:, 1] == 255).all()


def test_neighbouring_pixels_are_independent() -> None:
    bits = (binarize(torch.full((64, 4096), 128, dtype=torch.uint8), seed=3) == 255).double()
    for lag in range(1, 9):
        pairs = torch.stack([bits[:, :-lag].flatten(), bits[:, lag:].flatten()])
        assert abs(torch.corrcoef(pairs)[0, 1].item()) < 0.01


def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    image = torch.full((5, 7), 128, dtype=torch.uint8)
    before = torch.get_rng_state()
    assert torch.equal(binarize(image, 4), binarize(image, 4))
    assert not torch.equal(binarize(image, 4), binarize(image, 5))
    assert torch.equal(before, torch.get_rng_state())


def test_other_numbers_than_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"image is torch\.float32, not torch\.uint8"):
        binarize(torch.rand(2, 3), seed=1)


@pytest.mark.ddp
def test_two_ranks_draw_what_one_process_draws(two_ranks: TwoRanks) -> None:
    one, (first, second) = two_ranks.results("tests.data.programs:training_batches")
    for whole, even, odd in zip(one, first, second, strict=True):
        assert torch.equal(whole["image"][0::2], even["image"])
        assert torch.equal(whole["image"][1::2], odd["image"])
        assert torch.equal(whole["index"][0::2], even["index"])
        assert torch.equal(whole["index"][1::2], odd["index"])
        assert whole["seed"] == even["seed"] == odd["seed"]
