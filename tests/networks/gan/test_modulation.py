"""Batch norms modulated by the class or the noise: values, starts, statistics."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab.networks import generator, spectrally_normalised
from genlab.networks.gan.critics import Critic
from genlab.networks.gan.modulation import ConditionalNorm, SelfModulatedNorm
from tests.networks.flows.golden import first, second


def put(weight: Tensor, value: Tensor) -> None:
    with torch.no_grad():
        weight.copy_(value)


def test_self_modulation_has_its_definitions_values() -> None:
    norm = SelfModulatedNorm(2, 3, hidden=4).double()
    put(norm.hidden.weight, second(3, 4).T)
    put(norm.gain.weight, first(4, 2).T)
    put(norm.shift.weight, second(4, 2).T)
    for layer in (norm.hidden, norm.gain, norm.shift):
        put(layer.bias, torch.zeros_like(layer.bias))
    out = norm(first(2, 8).view(2, 2, 2, 2), first(2, 3), None)
    expected = [[1.7301194511, -1.3889712641], [1.0431757742, -2.2340504045]]
    found = torch.stack([out[0, :, 0, 0], out[1, :, 1, 1]])
    torch.testing.assert_close(found.tolist(), expected, rtol=0, atol=1e-9)


def test_projection_has_its_definitions_values() -> None:
    critic = Critic(nn.Identity(), 3, 4).double()
    assert critic.direction is not None
    put(critic.score.weight, first(1, 3))
    put(critic.score.bias, torch.tensor([0.25]))
    put(critic.direction.weight, second(4, 3))
    scores = critic(first(2, 3), torch.tensor([2, 0]))
    expected = [0.8559975441, -0.0293899729]
    torch.testing.assert_close(scores.tolist(), expected, rtol=0, atol=1e-9)
    spectrally_normalised(critic)  # one scale for all classes
    largest = torch.linalg.svdvals(critic.direction.weight)[0]
    assert largest.item() == pytest.approx(1, abs=0.1)


def test_conditional_norm_begins_as_plain_batch_norm() -> None:
    """An embedding of N(0, 1) would kill the training."""
    norm, x, label = ConditionalNorm(3, 4), torch.randn(6, 3, 2, 2), torch.arange(6) % 4
    plain = nn.BatchNorm2d(3, affine=False)
    torch.testing.assert_close(norm(x, x, label), plain(x))
    put(norm.gain.weight, torch.arange(12.0).view(4, 3))
    put(norm.shift.weight, torch.full((4, 3), 0.5))
    gain = 1 + torch.arange(12.0).view(4, 3)[label][:, :, None, None]
    torch.testing.assert_close(norm(x, x, label), gain * plain(x) + 0.5)


def test_conditional_statistics_are_shared_by_the_classes() -> None:
    norm, x = ConditionalNorm(3, 2), torch.randn(6, 3, 2, 2)
    x[:3] += 4  # class 0
    label = torch.tensor([0, 0, 0, 1, 1, 1])
    for _ in range(200):
        norm(x, x, label)
    norm.eval()
    mixed = norm(x, x, label)
    torch.testing.assert_close(norm(x[:3], x[:3], label[:3]), mixed[:3])  # others do not matter
    statistics = norm.norm.state_dict()
    before = statistics["running_mean"].clone()
    norm.train()(x[:3], x[:3], label[:3])  # a batch of one class moves them
    assert (statistics["running_mean"] - before).min() > 0.1


@pytest.mark.parametrize("norm", ["conditional", "self_modulated"])
@pytest.mark.parametrize("name", ["dcgan", "resnet"])
def test_generators_are_modulated(name: str, norm: str) -> None:
    network = generator(name, 5, 1, 16, num_classes=3, norm=norm, width=4)
    assert (network.label is None) == (norm == "conditional")
    kinds: dict[str, Any] = {"conditional": ConditionalNorm, "self_modulated": SelfModulatedNorm}
    norms = [m for m in network.modules() if isinstance(m, kinds[norm])]
    assert len(norms) > 1
    for part in norms:
        nn.init.normal_(part.gain.weight)
    z, label = torch.randn(6, 5), torch.arange(6) % 3
    image = network(z, label)
    (image * torch.randn_like(image)).sum().backward()
    for key, p in network.named_parameters():
        assert p.grad is not None, key
        assert p.grad.any(), key
    assert not torch.allclose(network(z, label), network(z, (label + 1) % 3))
    assert not any(m.affine for m in network.modules() if isinstance(m, nn.BatchNorm2d))


def test_self_modulation_needs_no_classes_and_conditional_norm_does() -> None:
    generator("dcgan", 5, 1, 8, norm="self_modulated")(torch.randn(3, 5))
    with pytest.raises(ValueError, match="norm 'conditional' requires classes"):
        generator("dcgan", 5, 1, 8, norm="conditional")
    with pytest.raises(ValueError, match=r"unknown norm 'condition'; choose from .*conditional"):
        generator("resnet", 5, 1, 8, norm="condition")


def test_the_width_of_a_classs_vector_is_refused_where_there_is_none() -> None:
    for classes, norm, lack in ((3, "conditional", "another norm"), (0, "batch", "classes")):
        sizes: dict[str, Any] = {"num_classes": classes, "norm": norm, "width": 4}
        with pytest.raises(ValueError, match=f"label_dim 99 requires {lack}"):
            generator("dcgan", 5, 1, 8, label_dim=99, **sizes)
    for label_dim, width in ((None, 32), (7, 7)):
        network = generator("dcgan", 5, 1, 8, num_classes=3, width=4, label_dim=label_dim)
        assert network.label is not None
        assert network.label.weight.shape == (3, width)
