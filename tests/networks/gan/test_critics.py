"""Critics: one score an image, of that image alone; classes; norms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.networks import clip_weights, critic, normalises_over_the_batch, spectrally_normalised

SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden_dims": [16, 8]},
    "dcgan": {"width": 4},
    "resnet": {"width": 4},
}


@pytest.mark.parametrize("side", [8, 28, 32, 33, 64])
@pytest.mark.parametrize("name", SMALL)
def test_one_score_an_image_of_every_size(name: str, side: int) -> None:
    network = critic(name, 3, side, **SMALL[name])
    image = torch.randn(4, 3, side, side)
    assert network(image).shape == (4,)
    assert network.features(image).shape == (4, network.score.in_features)


def influence(network: nn.Module, side: int = 8) -> Tensor:
    """How much each score depends on each image: (4, 4)."""
    image = torch.randn(4, 1, side, side, requires_grad=True)
    rows = [torch.autograd.grad(s, image, retain_graph=True)[0] for s in network(image)]
    return torch.stack([row.flatten(1).norm(dim=1) for row in rows])


@pytest.mark.parametrize(
    ("name", "norm"),
    [("mlp", None), ("mlp", "layer")]
    + [(n, k) for n in ("dcgan", "resnet") for k in ("none", "layer", "instance")],
)
def test_a_score_depends_on_its_own_image_only(name: str, norm: str | None) -> None:
    network = critic(name, 1, 16, norm=norm, **SMALL[name])
    found = influence(network, 16)
    assert (found.diagonal() > 0).all()
    assert found[~torch.eye(4, dtype=torch.bool)].abs().max() == 0
    assert not normalises_over_the_batch(network)


@pytest.mark.parametrize("name", SMALL)
def test_with_batch_norm_it_depends_on_the_others_and_that_is_told(name: str) -> None:
    network = critic(name, 1, 16, norm="batch", **SMALL[name])
    assert influence(network, 16)[0, 1] > 0
    assert normalises_over_the_batch(network)


@pytest.mark.parametrize("condition", ["projection", "concat"])
@pytest.mark.parametrize("name", SMALL)
def test_the_class_matters(name: str, condition: str) -> None:
    network = critic(name, 1, 8, num_classes=3, condition=condition, **SMALL[name])
    image, label = torch.randn(6, 1, 8, 8), torch.arange(6) % 3
    assert not torch.allclose(network(image, label), network(image, (label + 1) % 3))
    network(image, label).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    plain = critic(name, 1, 8, **SMALL[name])
    assert torch.equal(plain(image), plain(image, label))


def test_directions_of_classes_begin_as_the_reference_codes() -> None:
    """Glorot's uniform numbers: with normal ones they were 8 times as long at these sizes."""
    network = critic("mlp", 1, 8, num_classes=10, hidden_dims=[128])
    weight, bound = network.get_parameter("direction.weight"), (6 / 138) ** 0.5
    assert 0.98 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


@pytest.mark.parametrize("name", SMALL)
def test_spectral_norm_brings_every_matrix_to_one(name: str) -> None:
    network = spectrally_normalised(critic(name, 1, 8, num_classes=3, **SMALL[name]))
    image, label = torch.randn(2, 1, 8, 8), torch.tensor([0, 2])
    for _ in range(200):  # power iteration, one turn each
        network(image, label)
    network.eval()
    largest = [
        torch.linalg.matrix_norm(m.weight.flatten(1), ord=2).item()
        for m in network.modules()
        if isinstance(m, nn.Linear | nn.Conv2d | nn.Embedding)
    ]
    assert len(largest) >= 3
    assert largest == pytest.approx([1.0] * len(largest), abs=1e-3)


def test_clipping_leaves_no_weight_above_the_limit() -> None:
    network = critic("dcgan", 1, 8, **SMALL["dcgan"])
    small = [p.abs() < 0.01 for p in network.parameters()]
    before = [p.detach().clone() for p in network.parameters()]
    clip_weights(network, 0.01)
    for p, old, kept in zip(network.parameters(), before, small, strict=True):
        assert p.abs().max() <= 0.01
        assert torch.equal(p[kept], old[kept])


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("gan", 1, 28), {}, "'gan'; choose from mlp, dcgan, resnet"),
        (("dcgan", 2, 1), {}, "at least 8 px, got 1"),
        (("mlp", 1, 8), {"norm": "bach"}, "unknown norm 'bach'; choose from none, batch, layer"),
        (("dcgan", 1, 8), {"num_classes": 2, "condition": "sum"}, "choose from projection, concat"),
    ],
)
def test_what_is_wrong_is_said(arguments: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        critic(*arguments, **options)


def test_places_are_averaged_or_added_up() -> None:
    torch.manual_seed(0)
    mean = critic("resnet", 3, 32, width=4)
    torch.manual_seed(0)
    total = critic("resnet", 3, 32, width=4, pool="sum")
    image = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(total.features(image), 64 * mean.features(image))
    with pytest.raises(ValueError, match="unknown pool 'max'; choose from mean, sum"):
        critic("resnet", 3, 32, pool="max")


def test_a_norm_that_would_not_be_there_is_refused() -> None:
    with pytest.raises(ValueError, match="at 8 px dcgan is one convolution"):
        critic("dcgan", 1, 8, norm="batch")
    with pytest.raises(ValueError, match="bach"):
        critic("dcgan", 1, 8, norm="bach")
    with pytest.raises(ValueError, match="critic dcgan has no setting 'widht'; did you mean width"):
        critic("dcgan", 1, 8, widht=3)
