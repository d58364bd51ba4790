"""Jigsaw: its labels, its head, and its guards against shortcuts. The laws are in tests/laws."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from genlab import losses
from genlab.augment.pretext.permutations import permutation_set
from genlab.augment.pretext.tiles import cell_corners, cut, standardised
from genlab.contracts import Batch
from genlab.data import CIFAR10, MNIST, Digits
from genlab.methods.jigsaw import Jigsaw
from tests.methods.shortcuts import dark_frame, held_out, ridge_accuracy, smoothest_seams

SMALL: dict[str, Any] = {
    "channels": 3, "image_size": 24, "encoder": "small_cnn", "encoder_kwargs": {"width": 4},
    "head_dims": [8],
}  # fmt: skip


def small(**options: Any) -> Jigsaw:
    torch.manual_seed(1)
    return Jigsaw(**SMALL | options)


def batch(n: int = 6, side: int = 24, **more: Any) -> Batch:
    image = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(2))
    found = {"image": image, "index": torch.arange(n), "label": torch.zeros(n), "seed": 5}
    return cast(Batch, found | more)


def test_the_inverse_of_the_labels_permutation_restores_the_image() -> None:
    """JG4."""
    method = small(tile=1.0, grey=0.0, normalize_tiles=False)
    tiles, label = method.puzzle(batch())
    assert len(label.unique()) > 1
    for b, y in enumerate(label):
        back = tiles[b, method.permutations[y].argsort()]
        rows = [torch.cat([back[0], back[1]], 2), torch.cat([back[2], back[3]], 2)]
        assert torch.equal(torch.cat(rows, 1), batch()["image"][b])


def test_labels_mean_the_same_in_every_run_and_are_in_the_checkpoint() -> None:
    method = small(grid=3, image_size=36, permutations=72)
    table = method.state_dict()["permutations"]
    assert table.tolist() == [list(row) for row in permutation_set(3, 72)]


def test_all_tiles_of_all_images_pass_the_encoder_together() -> None:
    """PT5: batch statistics of a single image would tell which tiles belong together."""
    method, seen = small(), list[Tensor]()
    method.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    method.training_step(batch(), 0)
    assert [tuple(images.shape) for images in seen] == [(24, 3, 9, 9)]


def test_the_head_sees_the_tiles_in_order() -> None:
    method = small().eval()
    tiles = torch.rand(2, 4, 3, 9, 9)
    h = torch.cat([method(tiles[:, k]) for k in range(4)], 1)
    torch.testing.assert_close(method.logits_of(tiles), method.head(h))


class Brightness(nn.Module):
    """Mean of each tile 64 times, or of all four tiles of its image."""

    def __init__(self, averaged: bool) -> None:
        super().__init__()
        self.averaged = averaged

    def forward(self, tiles: Tensor) -> Tensor:
        h = tiles.flatten(1).mean(1, keepdim=True)
        if self.averaged:
            h = h.unflatten(0, (4, -1)).mean(0).repeat(4, 1)
        return h.repeat(1, 64)


def test_averaged_tiles_cannot_beat_chance() -> None:
    """JG5: a trained head of averages costs log P or more; of the tiles in order, less."""
    ramp = torch.arange(24.0) / 60
    costs = []
    for averaged in (True, False):
        method = small(normalize_tiles=False, grey=0.0, head_dims=[32], channel_shift=0)
        method.encoder = Brightness(averaged)  # type: ignore[assignment]
        optimizer = torch.optim.Adam(method.head.parameters(), lr=0.01)
        generator = torch.Generator().manual_seed(3)
        for seed in range(150):
            bright = 0.2 * torch.rand(64, 3, 1, 1, generator=generator)
            image = bright + ramp + 0.5 * ramp[:, None]
            given = batch(64, image=image, seed=seed)
            optimizer.zero_grad()
            method.training_step(given, 0)["loss"].backward()
            optimizer.step()
        method.eval()
        image = torch.rand(1024, 3, 1, 1, generator=generator) * 0.2 + ramp + 0.5 * ramp[:, None]
        with torch.no_grad():
            asked = batch(1024, image=image)
            costs.append(float(losses.task_nll(*answers(method, asked))["loss"]))
    assert costs[0] >= math.log(24) - 0.01
    assert costs[1] < 0.8 * math.log(24)


def answers(method: Jigsaw, given: Batch) -> tuple[Tensor, Tensor]:
    """Scores of the puzzles of a batch, and their labels."""
    tiles, label = method.puzzle(given)
    return method.logits_of(tiles), label


def test_tiles_enter_without_mean_and_deviation() -> None:
    method, seen = small(), list[Tensor]()
    method.encoder.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    method.training_step(batch(), 0)
    torch.testing.assert_close(seen[0].mean((2, 3)), torch.zeros(24, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(seen[0].square().mean((2, 3)), torch.ones(24, 3))


def test_validation_asks_the_same_puzzle_in_any_batch() -> None:
    method = small().eval()
    tiles, label = method.puzzle(batch())
    whole: Any = batch()
    part: Any = {key: whole[key][2:4] for key in ("image", "index")}
    again = method.puzzle(part)
    assert torch.equal(again[0], tiles[2:4])
    assert torch.equal(again[1], label[2:4])


def test_a_right_answer_puts_the_tiles_back() -> None:
    method = small().eval()
    shown = method.task_pictures(batch())
    label = method.puzzle(batch())[1]
    last: Any = method.head[-1]
    last.weight.data.zero_()
    last.bias.data.zero_()[label[0]] = 9.0
    shown = method.task_pictures(batch())
    assert torch.equal(shown["output"][0], shown["target"][0])
    assert shown["input"].shape == (6, 3, 20, 20)
    found = method.validation_step(batch(), 0)
    assert float(found["task_chance"]) == pytest.approx(1 / 24)
    assert found["feature"].shape == (6, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"channels": 1, "image_size": 8},
            "a jigsaw of 8 px requires tiles of at least 6 px, 2 x 2 give 3",
        ),
        ({"grid": 4}, "grid 4 must be 2 or 3"),
        ({"permutations": 20}, "permutations 20 of 2 x 2 tiles: choose 4, 12 or 24"),
        ({"tile": 1.5}, "tile 1.5 must be a share"),
        ({"grey": 2}, "grey 2 must be a chance"),
        ({"channel_shift": -1}, "channel_shift -1 must be at least 0"),
        (
            {"encoder": "vit_tiny_patch16_224", "encoder_kwargs": {"patch_size": 4, "depth": 1}},
            "vit_tiny_patch16_224 cannot take images of 3 x 9 x 9",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.fixture(scope="module")
def cifar() -> Tensor:
    try:
        return held_out(CIFAR10(download=False))
    except ValueError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("side", "raw", "guarded"), [(16, 0.805, 0.331), (14, 0.409, 0.114), (12, 0.240, 0.063)]
)
def test_seams_alone_solve_what_has_no_guard(
    side: int, raw: float, guarded: float, cifar: Tensor
) -> None:
    """PT2."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(24, (len(cifar),), generator=generator)
    tiles = cut(cifar, cell_corners((*cifar.shape,), 2, side, generator), side)
    order = torch.tensor(permutation_set(2, 24))[label]
    rows = torch.arange(len(tiles))[:, None]
    for expected, shown in ((raw, tiles), (guarded, standardised(tiles))):
        found = float((smoothest_seams(shown[rows, order]) == label).float().mean())
        assert found == pytest.approx(expected, abs=0.03)


def shuffled(image: Tensor, grid: int, count: int, side: int, seed: int = 0) -> tuple[Tensor, Any]:
    """Tiles in the order of one of ``count`` permutations, and its number."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(count, (len(image),), generator=generator)
    tiles = cut(image, cell_corners((*image.shape,), grid, side, generator), side)
    order = torch.tensor(permutation_set(grid, count))[label]
    return tiles[torch.arange(len(tiles))[:, None], order], label


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("side", "share"), [(14, 0.917), (12, 0.904), (10, 0.771)])
def test_the_dark_frame_of_mnist_solves_it_guarded_or_not(side: int, share: float) -> None:
    """PT2: of dark borders a tile without mean and deviation has no less: MNIST is no jigsaw."""
    try:
        image = held_out(MNIST(download=False))
    except ValueError as error:
        pytest.skip(str(error))
    tiles, label = shuffled(image, 2, 24, side)
    for shown in (tiles, standardised(tiles)):
        found = float((dark_frame(shown) == label).float().mean())
        assert found == pytest.approx(share, abs=0.03)


def test_the_dark_frame_of_digits_solves_little_of_it() -> None:
    tiles, label = shuffled(held_out(Digits(val_size=200)), 2, 24, 4)
    assert float((dark_frame(tiles) == label).float().mean()) == pytest.approx(0.29, abs=0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_without_their_means_tiles_are_not_told_by_them(cifar: Tensor) -> None:
    """JG3: nine permutations of 3 x 3 tiles: chance is 0.111, standard deviation 0.006."""
    known = held_out(CIFAR10(download=False), 6000, "train")
    found = []
    for guard in (False, True):
        parts = []
        for seed, image in enumerate((known, cifar)):
            tiles, label = shuffled(image, 3, 9, 8, seed)
            shown = standardised(tiles) if guard else tiles
            parts.append((shown.mean((3, 4)).flatten(1), label))
        found.append(ridge_accuracy(parts[0], parts[1]))
    assert found[0] > 0.25
    assert found[1] == pytest.approx(1 / 9, abs=0.02)
