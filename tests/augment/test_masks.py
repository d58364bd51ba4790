"""Masks: counts, places, and the same ones however the batch is dealt out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.augment.draws import for_this_rank
from genlab.augment.masks import BlockMasks, RandomMasks, UnitMasks
from genlab.augment.multi_block import MultiBlockMasks
from tests.conftest import TwoRanks


def drawn(masks: Any, n: int = 64, seed: int = 1) -> dict[str, Tensor]:
    return masks((n, 1, 8, 8), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("grid", "ratio", "kept"),
    [
        ((8, 8), 0.75, 16),
        ((7, 7), 0.75, 12),
        ((4, 4), 0.75, 4),
        ((4, 4), 0.5, 8),
        ((2, 5), 0.9, 1),  # 10 (1 - 0.9) is 0.9999999999999998
        ((2, 2), 0.99, 1),
        ((2, 2), 0.01, 3),
    ],
)
def test_random_masks_keep_the_whole_part(grid: Any, ratio: float, kept: int) -> None:
    """MA5."""
    masks = RandomMasks(grid, ratio)
    found = drawn(masks)
    assert masks.kept == found["keep"].shape[1] == kept
    assert (found["masked"].sum(1) == grid[0] * grid[1] - kept).all()
    assert not found["masked"].gather(1, found["keep"]).any()
    assert (found["keep"].diff(dim=1) > 0).all()


def test_random_masks_are_uniform_and_differ_from_image_to_image() -> None:
    masked = drawn(RandomMasks((4, 4)), 4000)["masked"]
    assert masked.double().mean(0).sub(0.75).abs().max() < 0.03
    assert len(masked[:200].unique(dim=0)) > 150


def test_units_are_masked_as_one() -> None:
    """SM2: 64 patches: 10 of 16 squares of 2 x 2, 40 patches."""
    masked = drawn(UnitMasks((8, 8)))["masked"]
    assert (masked.sum(1) == 40).all()
    blocks = masked.view(-1, 4, 2, 4, 2)
    assert torch.equal(blocks.amin((2, 4)), blocks.amax((2, 4)))
    assert len(masked.unique(dim=0)) > 60


def test_units_at_the_border_are_cut_off() -> None:
    masked = drawn(UnitMasks((7, 7)))["masked"].view(-1, 7, 7)
    assert torch.equal(masked[:, 0], masked[:, 1])
    assert not torch.equal(masked[:, 5], masked[:, 6])


@pytest.mark.parametrize("side", range(4, 17))
def test_blocks_fit_on_every_grid(side: int) -> None:
    """IB5: 1,000 draws: never above half, never empty, in steps from a tenth to a half."""
    masked = drawn(BlockMasks((side, side), chance=1.0), 1000)["masked"].sum(1)
    count = side * side
    assert max(1, int(0.1 * count)) <= int(masked.min())
    assert int(masked.max()) <= count / 2
    steps = 0.1 + 0.4 * (torch.arange(1000) + 0.5) / 1000
    assert (masked.sort().values - (steps * count).long()).abs().max() <= 2


def test_half_of_the_images_have_blocks_of_at_least_four_patches() -> None:
    masked = drawn(BlockMasks((8, 8)), 400)["masked"]
    some = masked[masked.any(1)].view(-1, 1, 8, 8).float()
    assert len(some) == 200
    square = torch.nn.functional.conv2d(some, torch.ones(1, 1, 2, 2))
    assert (square == 4).flatten(1).any(1).double().mean() > 0.8  # not single patches
    assert not drawn(BlockMasks((8, 8), chance=0.0))["masked"].any()
    assert drawn(BlockMasks((8, 8)), 1)["masked"].any()


@pytest.mark.parametrize("grid", [(4, 4), (7, 7), (8, 8), (14, 14), (8, 5)])
@pytest.mark.parametrize("targets", [1, 4])
def test_context_and_targets_never_overlap(grid: tuple[int, int], targets: int) -> None:
    """IJ4."""
    masks = MultiBlockMasks(grid, targets, least=6)
    for seed in range(50):
        found = drawn(masks, 16, seed)
        shape, _, kept = masks.sizes(seed)
        assert found["targets"].shape == (16, targets, shape[0] * shape[1])
        assert found["context"].shape == (16, kept)
        assert kept >= 6
        hit = torch.zeros(16, grid[0] * grid[1]).scatter(1, found["targets"].flatten(1), 1.0)
        assert not hit.gather(1, found["context"]).any()
        assert (found["context"].diff(dim=1) > 0).all()


def test_every_patch_is_context_and_target() -> None:
    """IJ2, IJ3: the reference never uses the last row and column, and drops the last patches."""
    masks = MultiBlockMasks((8, 8), 4)
    seen = {"context": torch.zeros(64), "targets": torch.zeros(64)}
    for seed in range(300):
        for name, index in drawn(masks, 8, seed).items():
            seen[name] += torch.bincount(index.flatten(), minlength=64)
    for count in seen.values():
        assert (count > 0).all()
    rows = seen["context"].view(8, 8).sum(1)
    assert rows.max() < 2 * rows.min()


def test_sizes_vary_from_batch_to_batch_with_scale_and_aspect_apart() -> None:
    """IJ5."""
    sizes = {MultiBlockMasks((14, 14)).sizes(seed)[0] for seed in range(300)}
    areas = [tall * wide for tall, wide in sizes]
    assert len(sizes) > 8
    assert 0.12 * 196 < min(areas) < max(areas) < 0.23 * 196
    near = {wide for tall, wide in sizes if tall == 6}
    assert len(near) > 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: RandomMasks((4, 4), 1.0), "mask_ratio 1.0 must be above 0 and below 1"),
        (lambda: RandomMasks((1, 1)), "at least two patches"),
        (lambda: UnitMasks((4, 4), 4), "unit_size 4 must be at least 1 and below the 4 x 4"),
        (lambda: UnitMasks((4, 4), 2, 0.0), "mask_ratio 0.0"),
        (lambda: BlockMasks((4, 4), ratio=(0.5, 0.1)), "must rise"),
        (lambda: BlockMasks((4, 4), least=0), "least 0"),
        (lambda: MultiBlockMasks((3, 3)), "3 x 3 patches leave 7 of context next to a target of 2"),
        (lambda: MultiBlockMasks((8, 8), 0), "targets 0"),
        (lambda: MultiBlockMasks((8, 8), scale=(0.3, 0.2)), "scale"),
        (lambda: MultiBlockMasks((8, 8), aspect=(2.0, 1.0)), "aspect"),
    ],
)
def test_what_is_out_of_range_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def of_all_ranks(rank: int, world: int) -> dict[str, Tensor]:
    """Masks of a batch of eight images, put together in the order of the global batch."""
    kinds: dict[str, Any] = {
        "random": RandomMasks((4, 4)),
        "units": UnitMasks((4, 4)),
        "blocks": BlockMasks((4, 4)),
        "targets": MultiBlockMasks((6, 6)),
    }
    whole: dict[str, Tensor] = {}
    for name, masks in kinds.items():
        for key, value in for_this_rank(masks, torch.zeros(8 // world, 1, 8, 8), 7).items():
            parts = [torch.empty_like(value) for _ in range(world)]
            if world > 1:
                torch.distributed.all_gather(parts, value)
            whole[f"{name}/{key}"] = torch.stack(parts if world > 1 else [value], 1).flatten(0, 1)
    return whole


def test_two_ranks_mask_what_one_does(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.augment.test_masks:of_all_ranks", atol=0)


@pytest.mark.parametrize("grid", [(2, 2), (4, 4), (7, 7), (16, 16)])
def test_no_draw_of_blocks_exceeds_the_bound(grid: Any) -> None:
    masks = BlockMasks(grid)
    for n, parts in ((8, 1), (12, 3), (5, 1)):
        for seed in range(30):
            masked = drawn(masks, n, seed)["masked"]
            for rank in range(parts):
                own = masked[rank::parts]
                assert int(own.sum()) <= masks.most(len(own), n)
            twice = torch.cat([masked, masked])
            assert int(twice.sum()) <= masks.most(2 * n, n)
    assert masks.most(8, 8) <= 8 * grid[0] * grid[1] // 2
