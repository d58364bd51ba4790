"""Residual quantiser and SimVQ beside values of other code.

Golden values are of vector-quantize-pytorch 1.32 (in float32, to 5e-8) and of an independent
derivation.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.networks.autoencoders.residual_quantizer import ResidualQuantizer
from genlab.networks.autoencoders.sim_quantizer import SimQuantizer
from tests.networks.flows.golden import first as x
from tests.networks.flows.golden import second as y


def two_stages() -> tuple[ResidualQuantizer, Tensor]:
    quantizer = ResidualQuantizer(2, 5, 3).double().eval()
    for part, book in zip(quantizer.parts, (x(5, 3), 0.3 * y(5, 3)), strict=True):
        part.codebook.copy_(book)  # type: ignore[operator]
    return quantizer, y(4, 3)[:, :, None, None]


def test_golden_codes_and_errors() -> None:
    quantizer, z = two_stages()
    found = quantizer(z)
    assert found.codes.flatten(1).tolist() == [[0, 1], [1, 2], [2, 1], [3, 2]]
    golden = [0.7941472766, 0.6805333243, 0.0645430534]
    assert found.quantized[0].flatten().tolist() == pytest.approx(golden, abs=1e-9)
    errors = [float((z - e).square().sum((1, 2, 3)).mean()) for e in found.vectors.unbind(1)]
    assert errors == pytest.approx([0.5501886325, 0.2512276298], abs=1e-9)
    commitment = float(quantizer.terms(z, found)["commitment"].mean())
    assert commitment == pytest.approx(0.25 * sum(errors))
    assert torch.equal(quantizer.embed(found.codes), found.quantized)


def test_the_gradient_passes_once() -> None:
    """Straight-through in each stage would multiply it."""
    z, c = torch.randn(2, 4, 3, 3, requires_grad=True), torch.randn(2, 4, 3, 3)
    quantizer = ResidualQuantizer(3, 16, 4)
    (c * quantizer(z).quantized).sum().backward()
    assert z.grad is not None
    assert torch.equal(z.grad, c)


def test_stages_start_from_what_is_left_and_the_error_falls() -> None:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(4, 16, 4, init_from_data=True)
    z = torch.randn(8, 4, 6, 6) + 5
    quantizer(z)
    first, *others = (part.codebook for part in quantizer.parts)
    assert first.mean() > 4  # type: ignore[operator]
    assert all(book.mean().abs() < 1 for book in others)  # type: ignore[operator]
    sums = quantizer.eval()(z).vectors.unbind(1)
    errors = [float((z - e).square().mean()) for e in sums]
    assert errors == sorted(errors, reverse=True)
    assert errors[3] < 0.5 * errors[0]


def test_each_stage_has_its_own_codebook_loss() -> None:
    quantizer = ResidualQuantizer(2, 8, 4, learn="gradient")
    z = torch.randn(2, 4, 3, 3)
    quantizer.terms(z, quantizer(z))["codebook"].sum().backward()
    rest = z - quantizer(z).vectors[:, 0].detach()
    second = quantizer.parts[1]
    e = second(rest).vectors
    expected = torch.autograd.grad((rest - e).square().sum(), second.codebook)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(second.codebook.grad, expected)


def test_golden_sim_quantizer() -> None:
    """Both terms with beta .25: 1.25 times the squared error; beta is on the commitment."""
    quantizer = SimQuantizer(5, 3).double()
    quantizer.frozen.copy_(x(5, 3))
    quantizer.map.weight.data.copy_(y(3, 3))
    z = x(4, 3)[:, :, None, None]
    found = quantizer(z)
    assert found.codes.flatten().tolist() == [1, 3, 2, 1]
    found_terms = quantizer.terms(z, found).items()
    terms = {name: float(value.detach().mean()) / 3 for name, value in found_terms}
    assert sum(terms.values()) == pytest.approx(0.2814664185, abs=1e-9)
    assert terms["codebook"] == pytest.approx(4 * terms["commitment"])


def test_codes_that_were_not_used_move_with_the_map() -> None:
    torch.manual_seed(0)
    quantizer = SimQuantizer(32, 4)
    before = quantizer.embed(torch.arange(32).view(1, 32, 1)).detach()
    z = torch.randn(1, 4, 1, 2)
    found = quantizer(z)
    quantizer.terms(z, found)["codebook"].sum().backward()
    torch.optim.SGD(quantizer.parameters(), 0.1).step()
    moved = (quantizer.embed(torch.arange(32).view(1, 32, 1)) - before).abs().amax((0, 1, 3))
    assert moved.min() > 0
    assert "frozen" in quantizer.state_dict()  # else a checkpoint has other codes
    assert quantizer.map.bias is None
