"""RelativePosition: its labels, its patches and its guards. The laws are in tests/laws."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from genlab.augment.pretext.tiles import cut, draw_patch_guard, neighbour_corners, patch_guard
from genlab.contracts import Batch
from genlab.data import CIFAR10
from genlab.methods.relative_position import PLACES, RelativePosition
from tests.methods.shortcuts import held_out, matching_borders

SMALL: dict[str, Any] = {
    "channels": 3, "image_size": 32, "encoder": "small_cnn", "encoder_kwargs": {"width": 4},
    "head_dims": [8],
}  # fmt: skip


def small(**options: Any) -> RelativePosition:
    torch.manual_seed(1)
    return RelativePosition(**SMALL | options)


def batch(n: int = 4) -> Batch:
    image = torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    found = {"image": image, "index": torch.arange(n), "label": torch.zeros(n), "seed": 5}
    return cast(Batch, found)


def test_sizes_are_shares_of_the_image() -> None:
    method = small()
    assert (method.side, method.gap, method.jitter) == (8, 3, 1)


def test_labels_are_whole_numbers_row_by_row_without_the_centre() -> None:
    """CP1, CP2."""
    for label, place in enumerate(PLACES):
        dy, dx = place // 3 - 1, place % 3 - 1
        number = 3 * (dy + 1) + dx + 1
        assert label == number - (number > 4)
    opposite = [PLACES.index(8 - place) for place in PLACES]
    assert opposite == [7 - label for label in range(8)]  # (B, A) has 7 - l


def test_patches_never_share_a_pixel_and_move_by_the_jitter() -> None:
    """CP5."""
    corner = neighbour_corners((400, 1, 32, 32), 8, 3, 1, torch.Generator().manual_seed(0))
    assert int(corner.min()) == 0
    assert int(corner.max()) == 24
    grid = corner.view(400, 3, 3, 2)
    across = grid[:, :, 1:, 1] - grid[:, :, :-1, 1]
    down = grid[:, 1:, :, 0] - grid[:, :-1, :, 0]
    for step in (across, down):
        assert sorted(set(step.flatten().tolist())) == [9, 10, 11, 12, 13]


def test_the_heads_batch_norm_has_a_gain() -> None:
    """CP4: the reference's has none."""
    norms = [part for part in small().head.modules() if isinstance(part, nn.BatchNorm1d)]
    assert norms
    assert all(norm.affine for norm in norms)


def test_each_pair_is_asked_for_its_place() -> None:
    """PT5: all patches of all images are in one pass."""
    method, seen = small(), list[Tensor]()

    class Brightness(nn.Module):
        def forward(self, images: Tensor, normalized: bool = False) -> Tensor:
            assert normalized  # noise in place of a channel stays faint
            seen.append(images)
            return images.mean((1, 2, 3))[:, None]

    class Difference(nn.Module):
        def forward(self, pair: Tensor) -> Tensor:
            place = (pair[:, 1] - pair[:, 0] + 4).round().long()
            label = torch.where(place > 4, place - 1, place)
            return 50 * nn.functional.one_hot(label, 8).float()

    method.encoder, method.head = Brightness(), Difference()  # type: ignore[assignment]
    patches = torch.arange(9.0).view(1, 9, 1, 1, 1).expand(2, 9, 3, 8, 8)
    scores = method.places_of(patches)
    assert scores.argmax(2).tolist() == [[k, k] for k in range(8)]
    assert [len(images) for images in seen] == [18]


def test_guards_take_brightness_channels_and_some_sharpness() -> None:
    patches = torch.rand(5, 9, 3, 8, 8) * 0.4 + 0.3
    drawn = draw_patch_guard((5, 3, 32, 32), 9, 8, 0.5, torch.Generator().manual_seed(0))
    found = patch_guard(patches, drawn, drop=True)
    deviation = found.std((3, 4), correction=0)
    assert ((deviation > 0.9).sum(2) == 1).all()
    assert ((deviation < 0.05).sum(2) == 2).all()
    whole = patch_guard(patches, drawn, drop=False)
    torch.testing.assert_close(whole.mean((3, 4)), torch.zeros(5, 9, 3), atol=1e-5, rtol=0)
    rough = (whole[..., 1:] - whole[..., :-1]).abs().mean((2, 3, 4))
    assert float(rough[drawn["blurred"]].mean()) < 0.8 * float(rough[~drawn["blurred"]].mean())
    assert 0.3 < float(drawn["blurred"].float().mean()) < 0.7
    grey = patch_guard(patches[:, :, :1], drawn, drop=True)
    torch.testing.assert_close(grey.std((3, 4), correction=0), torch.ones(5, 9, 1))


def test_pictures_put_the_neighbour_where_it_was_told() -> None:
    method = small().eval()
    shown = method.task_pictures(batch())
    assert {images.shape[-1] for images in shown.values()} == {28}
    last: Any = method.head[-1]
    last.weight.data.zero_()
    last.bias.data.zero_()[1] = 9.0
    shown = method.task_pictures(batch())
    assert torch.equal(shown["output"][1], shown["target"][1])
    assert not torch.equal(shown["output"][0], shown["target"][0])
    found = method.validation_step(batch(), 0)
    assert float(found["task_chance"]) == 0.125
    assert found["feature"].shape == (4, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 1, "image_size": 8}, "patches of 2 px of 8 are too small"),
        ({"patch": 0.4}, "3 patches of 13 px with gaps of 3 and jitter of 1 require 47 px, not 32"),
        ({"gap": -0.1}, "gap -3, jitter 1 and blurred 0.33 must be at least 0"),
        (
            {"encoder": "vit_tiny_patch16_224", "encoder_kwargs": {"patch_size": 4, "depth": 1}},
            "vit_tiny_patch16_224 cannot take images of 3 x 8 x 8",
        ),
    ],
)
def test_bad_input_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("gap", "right"), [(0, 0.540), (3, 0.250)])
def test_borders_alone_tell_the_place(gap: int, right: float) -> None:
    """CP3, PT2."""
    try:
        image = held_out(CIFAR10(download=False))
    except ValueError as error:
        pytest.skip(str(error))
    generator = torch.Generator().manual_seed(0)
    patches = cut(image, neighbour_corners((*image.shape,), 8, gap, 0, generator), 8)
    scores = torch.stack([matching_borders(patches[:, 4], patches[:, p]) for p in PLACES])
    label = torch.arange(8)[:, None].expand(scores.shape)
    assert float((scores == label).float().mean()) == pytest.approx(right, abs=0.06)
