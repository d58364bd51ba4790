"""Masked autoencoder: its orders, and zuko's golden value."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.networks.autoencoders.made import MaskedAutoencoder
from tests.networks.flows.golden import first, second


def shaken(*options: Any, **more: Any) -> MaskedAutoencoder:
    """A network whose last layers are not zero."""
    torch.manual_seed(0)
    net = MaskedAutoencoder(*options, **more).double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p))
    return net


def log_prob(net: MaskedAutoencoder, x: Tensor, order: int) -> Tensor:
    return -F.binary_cross_entropy_with_logits(net(x, order)[..., 0], x, reduction="none").sum(1)


def test_it_is_zukos_masked_network() -> None:
    net = MaskedAutoencoder(4, 1, [6], "relu").double()
    with torch.no_grad():
        net.first.weight.copy_(first(6, 4))
        net.first.bias.copy_(second(1, 6)[0])
        net.last.weight.copy_(2 * first(4, 6))
        net.last.bias.copy_(second(1, 4)[0])
    one = torch.tensor([[1.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    assert log_prob(net, one, 0).item() == pytest.approx(-7.534998576597614, abs=1e-12)


@pytest.mark.parametrize("hidden", [[5], [9, 7, 9]])
@pytest.mark.parametrize("dim", [1, 6])
def test_probabilities_sum_to_one_in_every_order(dim: int, hidden: list[int]) -> None:
    net = shaken(dim, 1, hidden, "tanh", 3)
    every = torch.tensor(list(product([0.0, 1.0], repeat=dim)), dtype=torch.float64)
    for order in range(3):
        assert log_prob(net, every, order).exp().sum().item() == pytest.approx(1.0, abs=1e-12)


def test_a_variable_sees_all_before_it_in_the_order_and_no_other() -> None:
    net = shaken(6, 3, [19, 17], "tanh", 4)
    assert net.places[0].tolist() == [1, 2, 3, 4, 5, 6]
    assert len({tuple(row) for row in net.places.tolist()}) > 2
    for order in range(4):
        slopes = torch.zeros(6, 3, 6, dtype=torch.float64)
        for x in torch.randn(20, 6, dtype=torch.float64):
            slopes += torch.autograd.functional.jacobian(
                lambda v, k=order: net(v[None], k)[0], x
            ).abs()
        place = net.places[order]
        assert torch.equal(slopes.amin(1) > 0, place[:, None] > place)


def test_orders_are_in_the_state() -> None:
    torch.manual_seed(1)
    one, other = (MaskedAutoencoder(8, 1, [8], orders=5) for _ in range(2))
    assert not torch.equal(one.places, other.places)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.places, other.places)


WRONG: list[dict[str, Any]] = [{"hidden_dims": []}, {"orders": 0}, {"dropout": 1.0}]


@pytest.mark.parametrize("options", WRONG)
def test_bad_arguments_are_named(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"dim": 3, "size": 1, "hidden_dims": [4]}
    with pytest.raises(ValueError, match=next(iter(options))):
        MaskedAutoencoder(**(given | options))
