"""O-GAN's loss: the reference code's values, and where its gradients go."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genlab.losses import orthogonal_loss, row_correlation, standardised_code
from tests.networks.flows.golden import first, second


def test_equals_the_reference_codes_values() -> None:
    """o-gan at c7b3d08, with NumPy's deviation."""
    z, e_real = first(3, 4), second(3, 4)
    e_fake = 0.5 * first(3, 4) + second(3, 4).flip(1)
    distance = (first(3, 4) - second(3, 4)).square().mean(1)
    found = orthogonal_loss(e_real, e_fake, e_fake, distance, z)
    assert found["loss"].item() == pytest.approx(0.0838242099, abs=1e-9)
    scores = [-0.1991153852, 0.1423604966, -0.0071118917]
    assert found["score"].item() == pytest.approx(sum(scores) / 3, abs=1e-9)
    each = row_correlation(z, e_fake).tolist()
    assert each == pytest.approx([-0.7123591085, 0.9826686816, -0.6954484195], abs=1e-9)
    code = [1.2838118119, 0.5504024225, -0.4889053681, -1.3453088664]
    assert standardised_code(e_real)[0].tolist() == pytest.approx(code, abs=1e-9)


def test_the_second_difference_moves_the_generator_alone() -> None:
    """It is worth 0; without it the generator would see the correlation and no score."""
    torch.manual_seed(0)
    encoder, generator = nn.Linear(6, 5), nn.Linear(4, 6)
    z, real = torch.randn(8, 4), torch.randn(8, 6)
    fake = generator(z)
    e_fake, e_fixed = encoder(fake), encoder(fake.detach())
    far = torch.ones(8)
    whole = orthogonal_loss(encoder(real), e_fake, e_fixed, far, torch.randn(8, 5))["loss"]
    t2 = (e_fake.mean(1) - e_fixed.mean(1)).mean()
    assert t2.item() == pytest.approx(0, abs=1e-6)
    weights = [encoder.weight, generator.weight]
    by_encoder, by_generator = torch.autograd.grad(t2, weights, retain_graph=True)
    assert by_encoder.abs().max() < 1e-6
    assert by_generator.abs().max() > 1e-3
    moved = torch.autograd.grad(whole, weights)
    assert all(slope.abs().max() > 1e-3 for slope in moved)


def test_a_copy_of_the_real_image_does_not_divide_by_zero() -> None:
    e = torch.randn(4, 5, requires_grad=True)
    loss = orthogonal_loss(e, e * 1.1, e.detach(), torch.zeros(4), torch.randn(4, 5))["loss"]
    loss.backward()
    assert loss.isfinite()
    assert e.grad is not None
    assert e.grad.isfinite().all()


def test_half_precision_gives_a_loss_in_single() -> None:
    e = torch.randn(3, 4, 6).bfloat16()
    found = orthogonal_loss(e[0], e[1], e[2], torch.ones(4).bfloat16(), e[0])
    assert {value.dtype for value in found.values()} == {torch.float32}
