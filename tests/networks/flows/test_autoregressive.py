"""Masked networks and autoregressive layers: order, golden values of zuko and of MAF's paper."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.flows.autoregressive import Autoregressive
from genlab.networks.flows.couplings import change
from genlab.networks.flows.masked import (
    MaskedLinear,
    degrees,
    masked_net,
    masked_residual_net,
)
from tests.networks.flows.golden import first, second


def given(net: nn.Sequential) -> nn.Sequential:
    """The network of the golden value: D = 4, six hidden units."""
    weights = (first(6, 4), second(1, 6)[0]), (2 * first(4, 6), second(1, 4)[0])
    for layer, (weight, bias) in zip((net[0], net[2]), weights, strict=True):
        layer.weight.data, layer.bias.data = weight, bias
    return net


def log_prob(net: nn.Module, x: Tensor) -> Tensor:
    return -F.binary_cross_entropy_with_logits(net(x), x, reduction="none").sum(1)


def test_probabilities_of_binary_vectors_sum_to_one_as_zuko_says() -> None:
    """Zuko 1.6.0's MaskedMLP; with >= in place of > at the output the sum is 1.2412."""
    net = given(masked_net(4, 1, [6], "relu").double())
    every = torch.tensor(list(product([0.0, 1.0], repeat=4)), dtype=torch.float64)
    assert log_prob(net, every).exp().sum().item() == pytest.approx(1.0, abs=1e-12)
    one = torch.tensor([[1.0, 0.0, 1.0, 0.0]], dtype=torch.float64)
    assert log_prob(net, one).item() == pytest.approx(-7.534998576597614, abs=1e-12)


NETS = {
    "made": lambda dim, size: masked_net(dim, size, [9, 7], "tanh"),
    "residual": lambda dim, size: masked_residual_net(dim, size, 9, 2),
}


def shaken(net: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    net = net.double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p))
    return net


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dim", [1, 2, 6])
def test_a_place_sees_all_places_before_it_and_no_other(name: str, dim: int) -> None:
    net = shaken(NETS[name](dim, 3))
    jacobian = torch.zeros(3 * dim, dim, dtype=torch.float64)
    for x in torch.randn(20, dim, dtype=torch.float64):
        jacobian += torch.autograd.functional.jacobian(lambda v: net(v[None])[0], x).abs()
    seen = jacobian.view(dim, 3, dim).amin(1) > 0
    assert torch.equal(seen, torch.ones(dim, dim).tril(-1).bool())


@pytest.mark.parametrize("name", NETS)
def test_narrow_layers_see_the_last_places_too(name: str) -> None:
    """Seven units or nine for 30 places: the last output depends on every place before it."""
    net, x = shaken(NETS[name](30, 1)), torch.randn(20, 30, dtype=torch.float64)
    seen = torch.zeros(30, 30, dtype=torch.float64)
    for row in x:
        seen += torch.autograd.functional.jacobian(lambda v: net(v[None])[0], row).abs()
    assert (seen[-1, :-1] > 0).all()
    assert (seen.tril(-1) == seen).all()
    assert (seen[1:].sum(1) > 0).all()  # and every output on some


def test_degrees_are_spread_over_a_narrow_layer() -> None:
    assert degrees(784, 4).tolist() == [1, 261, 522, 783]
    assert degrees(4, 3).tolist() == [1, 2, 3]
    assert degrees(4, 5).tolist() == [1, 2, 3, 1, 2]
    assert degrees(5, 1).tolist() == [1]


@pytest.mark.parametrize("name", NETS)
def test_weights_outside_the_mask_get_no_gradient(name: str) -> None:
    net = shaken(NETS[name](5, 2))
    net(torch.randn(8, 5, dtype=torch.float64)).square().sum().backward()
    layers = [m for m in net.modules() if isinstance(m, MaskedLinear)]
    for layer in layers:
        assert layer.weight.grad is not None
        assert layer.weight.grad[~layer.mask].eq(0).all()
    assert any((~layer.mask).any() for layer in layers)


def test_an_affine_layer_is_that_of_mafs_paper() -> None:
    """U = (x - mu) e^(-a) for a = .5, mu = .3, x = 1: .4245714618, log-determinant -.5."""
    mu, a = torch.tensor([0.3, 0.5], dtype=torch.float64)
    raw = torch.stack([2 * torch.atanh(-a / 2), -mu * (-a).exp()])  # the map of conventions
    net: Any = nn.Linear(1, 2).double()
    nn.init.zeros_(net.weight)
    net.bias.data = raw
    layer = Autoregressive(net, change("affine"))
    z, log_det = layer(torch.ones(1, 1, dtype=torch.float64))
    assert z.item() == pytest.approx(0.4245714618, abs=1e-9)
    assert log_det.item() == pytest.approx(-0.5, abs=1e-12)
    x, back = layer.inverse(z)
    assert x.item() == pytest.approx(1.0, abs=1e-12)
    assert back.item() == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("coupling", ["affine", "spline"])
def test_the_inverse_has_the_gradient_of_the_map(coupling: str) -> None:
    """dL/dz of the inverse, D passes one after the other, against the inverse Jacobian."""
    kind = change(coupling, 4, 2.0)
    layer = Autoregressive(shaken(masked_net(4, kind.size, [8], "tanh")), kind)
    x = torch.randn(4, dtype=torch.float64)
    forward = torch.autograd.functional.jacobian(lambda v: layer(v[None])[0][0], x)
    z = layer(x[None])[0][0].detach()
    inverse = torch.autograd.functional.jacobian(lambda v: layer.inverse(v[None])[0][0], z)
    torch.testing.assert_close(inverse, forward.inverse(), atol=1e-8, rtol=1e-8)


def test_widths_below_one_are_refused() -> None:
    for hidden in ([], [4, 0]):
        with pytest.raises(ValueError, match="hidden_dims"):
            masked_net(3, 1, hidden, "relu")
