"""PPCA: EM reaches the closed form, whose likelihood is Tipping and Bishop's."""

from __future__ import annotations

import math
from itertools import islice, pairwise

import pytest
import torch
from torch import Tensor

from genlab.metrics import ppca


def points() -> Tensor:
    """(2000, 6) of two latents, noise of variance 0.25."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    z = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(2000, 6, generator=generator, dtype=torch.float64)
    return z @ weight.T + 0.5 * noise + 3


def test_the_likelihood_at_the_optimum_is_the_papers() -> None:
    x = points()
    found = ppca.closed_form(x, 2)
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))
    log = values[-2:].log().sum() + 4 * values[:-2].mean().log()
    expected = -0.5 * (6 * math.log(2 * math.pi) + log + 6)  # Tipping & Bishop, equation 5
    assert float(found.log_prob(x).mean()) == pytest.approx(float(expected), abs=1e-9)
    assert float(found.variance) == pytest.approx(0.25, abs=0.02)


def test_the_density_is_that_of_the_normal_distribution() -> None:
    x = points()
    found = ppca.closed_form(x, 2)
    whole = found.weight @ found.weight.T + found.variance * torch.eye(6, dtype=torch.float64)
    normal = torch.distributions.MultivariateNormal(found.mean, whole)
    torch.testing.assert_close(found.log_prob(x), normal.log_prob(x))


@pytest.mark.parametrize("latents", [1, 2, 4])
def test_em_reaches_the_closed_form(latents: int) -> None:
    x = points()
    best, found = ppca.closed_form(x, latents), ppca.by_em(x, latents, tolerance=1e-13)
    gap = best.log_prob(x).mean() - found.log_prob(x).mean()
    assert 0 <= float(gap) + 1e-12 < 1e-6
    assert float(found.variance) == pytest.approx(float(best.variance), rel=1e-3)
    torch.testing.assert_close(
        found.weight @ found.weight.T, best.weight @ best.weight.T, atol=0.01, rtol=0.01
    )


def test_em_never_goes_down() -> None:
    x = points()
    path = [float(one.log_prob(x).mean()) for one in islice(ppca.em_steps(x, 2, seed=3), 30)]
    assert all(after >= before - 1e-12 for before, after in pairwise(path))
    assert path[-1] > path[0] + 1


@pytest.mark.parametrize("latents", [0, 6])
def test_numbers_of_latents_that_there_are_not(latents: int) -> None:
    with pytest.raises(ValueError, match=f"latents {latents} must be 1 to 5"):
        ppca.closed_form(points(), latents)
