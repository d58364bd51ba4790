"""Generators: sizes, ranges, classes, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.networks import generator

SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden_dims": [16]},
    "dcgan": {"width": 4},
    "resnet": {"width": 4},
}


@pytest.mark.parametrize("side", [8, 28, 32, 33, 64])
@pytest.mark.parametrize("name", SMALL)
def test_images_of_every_size_in_range(name: str, side: int) -> None:
    network = generator(name, 5, 3, side, **SMALL[name])
    image = network(100 * torch.randn(4, 5))
    assert image.shape == (4, 3, side, side)
    assert image.abs().max() <= 1
    raw = generator(name, 5, 3, side, bounded=False, **SMALL[name])
    assert raw(1000 * torch.randn(4, 5)).abs().max() > 1


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance"])
@pytest.mark.parametrize("name", ["dcgan", "resnet"])
def test_every_weight_is_trained_and_the_class_matters(name: str, norm: str) -> None:
    network = generator(name, 5, 1, 16, num_classes=3, norm=norm, **SMALL[name])
    z, label = torch.randn(6, 5), torch.arange(6) % 3
    image = network(z, label)
    (image * torch.randn_like(image)).sum().backward()
    for key, p in network.named_parameters():
        assert p.grad is not None, key
        assert p.grad.isfinite().all(), key
    assert not torch.allclose(network(z, label), network(z, (label + 1) % 3))


def test_without_classes_the_label_has_no_effect() -> None:
    network = generator("mlp", 5, 1, 8, **SMALL["mlp"])
    z = torch.randn(4, 5)
    assert torch.equal(network(z), network(z, torch.arange(4)))


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("gan", 5, 1, 28), {}, "'gan'; choose from mlp, dcgan, resnet"),
        (("dcgan", 5, 2, 1), {}, "at least 8 px, got 1"),
        (("dcgan", 0, 1, 28), {}, "latent_dim must be at least 1"),
        (("resnet", 5, 1, 28), {"norm": "bach"}, "unknown norm 'bach'; choose from none, batch"),
    ],
)
def test_what_is_wrong_is_said(arguments: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        generator(*arguments, **options)
