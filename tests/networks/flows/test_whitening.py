"""Whitening: mean 0, covariance 1, a triangular map whose log-determinant is counted."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.networks.flows.whitening import Whitening
from tests.networks.flows.golden import first


def points(n: int = 500) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(n, 4, dtype=torch.float64) @ first(4, 4) + 3


def fitted(x: torch.Tensor) -> Whitening:
    layer = Whitening(x.shape[1]).double()
    layer.fit(x.split(64))
    return layer


def test_training_data_are_white_and_come_back() -> None:
    x = points()
    layer = fitted(x)
    z, log_det = layer(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(4).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(z.T.cov(correction=0), torch.eye(4).double(), atol=1e-3, rtol=0)
    again, back = layer.inverse(z)
    torch.testing.assert_close(again, x, atol=1e-9, rtol=0)
    torch.testing.assert_close(back, -log_det)
    jacobian = torch.autograd.functional.jacobian(lambda v: layer(v[None])[0][0], x[0])
    torch.testing.assert_close(jacobian, jacobian.tril())  # raster order stays
    torch.testing.assert_close(log_det[0], torch.linalg.slogdet(jacobian)[1])


def test_a_gaussians_log_density_counts_the_units() -> None:
    """A standard normal of whitened data is the full Gaussian; in other units - D log 7."""
    x = points()

    def density(x: torch.Tensor) -> torch.Tensor:
        z, log_det = fitted(x)(x)
        return log_det - 0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    normal = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov(correction=0))
    torch.testing.assert_close(density(x), normal.log_prob(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(density(7 * x), density(x) - 4 * math.log(7), atol=1e-9, rtol=0)


def test_constant_numbers_and_few_vectors_keep_it_invertible() -> None:
    x = torch.cat([points(3), torch.ones(3, 2, dtype=torch.float64)], 1)
    z = fitted(x)(x)[0]
    assert z.isfinite().all()
    for wrong in (torch.ones(5, 3), torch.ones(0, 3)):
        with pytest.raises(ValueError, match="whiten requires vectors that differ"):
            Whitening(3).fit([wrong])


def test_it_is_the_identity_until_it_is_fitted_and_the_checkpoint_knows() -> None:
    x = points()
    fresh = Whitening(4).double()
    assert torch.equal(fresh(x)[0], x)
    assert not fresh.fitted
    fresh.load_state_dict(fitted(x).state_dict())
    assert fresh.fitted
    assert torch.equal(fresh(x)[0], fitted(x)(x)[0])
