"""Views of several sizes: a pass for each, their order, what a ViT can take."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import networks
from genlab.augment.views import views_from
from genlab.networks import multicrop

SIDES = (8, 4, 8, 6, 4)
VIT: dict[str, Any] = {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 2}


def views(sides: tuple[int, ...] = SIDES, n: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(n, 1, side, side, generator=generator) for side in sides]


def trainer(side: int | float) -> Any:
    chosen = views_from({"preset": "multicrop", "small": {"size": side}})
    return SimpleNamespace(datamodule=SimpleNamespace(views=chosen))


def test_outputs_are_in_the_order_of_the_views_even_if_sizes_alternate() -> None:
    """VW1."""
    found = multicrop.by_size(lambda image: image.mean((1, 2, 3)), views())
    for view, out in zip(views(), found, strict=True):
        torch.testing.assert_close(out, view.mean((1, 2, 3)))


def test_each_size_is_one_pass_in_the_order_of_its_views() -> None:
    seen: list[Tensor] = []

    def network(image: Tensor) -> Tensor:
        seen.append(image)
        return image.flatten(1)

    given = views()
    multicrop.by_size(network, given)
    assert [tuple(image.shape) for image in seen] == [(6, 1, 8, 8), (6, 1, 4, 4), (3, 1, 6, 6)]
    assert torch.equal(seen[1], torch.cat([given[1], given[4]]))


def test_batch_norm_counts_one_batch_for_each_size() -> None:
    """SW7."""
    norm = nn.BatchNorm2d(1)
    multicrop.by_size(norm, views((8, 8, 4, 4, 4, 4)))
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 2


def test_a_vits_positions_are_resampled_and_receive_a_gradient() -> None:
    """VW2."""
    encoder = networks.encoder("vit_tiny_patch16_224", 1, 8, dynamic_img_size=True, **VIT)
    multicrop.check_sizes(encoder, trainer(0.5))
    positions: Any = encoder.backbone.pos_embed
    small, _ = multicrop.by_size(encoder, views((4, 4)))
    small.square()[:, 0].sum().backward()
    assert float(positions.grad.abs().sum()) > 0


def test_a_size_that_the_encoder_cannot_take_is_refused_with_the_setting() -> None:
    encoder = networks.encoder("vit_tiny_patch16_224", 1, 8, **VIT)
    with pytest.raises(ValueError, match=r"data\.views of 4 px: .*dynamic_img_size: true"):
        multicrop.check_sizes(encoder, trainer(4))
    multicrop.check_sizes(encoder, trainer(8))
    multicrop.check_sizes(encoder, SimpleNamespace(datamodule=None))
    dynamic = networks.encoder("vit_tiny_patch16_224", 1, 8, dynamic_img_size=True, **VIT)
    with pytest.raises(
        ValueError, match=r"of 5 px: .*4 or 6 px are whole patches; data\.views\.small\.size"
    ):
        multicrop.check_sizes(dynamic, trainer(5))
    multicrop.check_sizes(networks.encoder("small_cnn", 1, 8), trainer(5))
