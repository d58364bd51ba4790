"""Posteriors: golden values, densities against the Jacobian and torch, exact KL terms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.losses import kl_standard_normal, normal_log_prob
from genlab.networks.latents.posteriors import (
    CategoricalPosterior,
    FullPosterior,
    GaussianPosterior,
    IAFPosterior,
    iaf_step,
    posterior,
)
from tests.networks.flows.golden import first, second


def test_a_step_of_iaf_is_the_papers() -> None:
    z, change = iaf_step(first(1, 3), 0.5 * second(1, 3), first(1, 3) + 1.5)
    assert z[0].tolist() == pytest.approx([0.8075288407, 0.8879040713, 0.2712916759], abs=1e-9)
    assert change.item() == pytest.approx(0.3229912557, abs=1e-9)


def shaken(q: GaussianPosterior) -> tuple[GaussianPosterior, Tensor, Tensor]:
    """A posterior with weights that are not zero, an encoder's numbers and noise for 5 draws."""
    torch.manual_seed(0)
    q = q.double().eval()
    with torch.no_grad():
        for p in q.parameters():
            p.add_(0.5 * torch.randn_like(p))
    raw = torch.randn(4, q.size, dtype=torch.float64)
    return q, raw, q.noise(raw, 5)


NORMAL: dict[str, GaussianPosterior] = {
    "gaussian": GaussianPosterior(3),
    "full": FullPosterior(3),
    "iaf": IAFPosterior(3, steps=3, hidden_dims=[7], context=2),
}


@pytest.mark.parametrize("name", NORMAL)
def test_a_draws_density_is_the_noises_by_the_jacobian(name: str) -> None:
    q, raw, noise = shaken(NORMAL[name])
    z, log_q = q(raw, noise)
    assert z.shape == noise.shape
    for k in range(5):
        for b in range(4):
            slopes = torch.autograd.functional.jacobian(
                lambda e, b=b: q(raw[b : b + 1], e[None])[0][0], noise[k, b]
            )
            base = -0.5 * (noise[k, b].square().sum() + 3 * math.log(2 * math.pi))
            expected = base - slopes.slogdet().logabsdet
            torch.testing.assert_close(log_q[k, b], expected)


def test_the_full_posterior_is_torchs() -> None:
    q, raw, noise = shaken(FullPosterior(4))
    assert isinstance(q, FullPosterior)
    z, log_q = q(raw, noise)
    same = torch.distributions.MultivariateNormal(raw[:, :4], scale_tril=q.factor(raw))
    torch.testing.assert_close(log_q, same.log_prob(z))
    standard = torch.distributions.MultivariateNormal(
        torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    )
    torch.testing.assert_close(q.kl(raw).sum(1), torch.distributions.kl_divergence(same, standard))
    mean, logvar = q.moments(raw)
    torch.testing.assert_close(logvar.exp(), same.covariance_matrix.diagonal(dim1=1, dim2=2))
    torch.testing.assert_close(mean, same.mean)


def test_every_step_of_iaf_sees_the_image_and_the_order_is_reversed() -> None:
    q, raw, noise = shaken(IAFPosterior(3, steps=2, hidden_dims=[16], context=2))
    other = raw.clone()
    other[:, 6:] += 1
    moved = (q(raw, noise)[0] - q(other, noise)[0]).abs().amin((0, 1))
    assert (moved > 0).all()  # the first latent too, by the step in reversed order
    slopes = torch.autograd.functional.jacobian(lambda e: q(raw[:1], e[None])[0][0], noise[0, 0])
    assert (slopes != 0).all()


def test_iaf_starts_near_its_normal_density() -> None:
    torch.manual_seed(0)
    q = IAFPosterior(5, steps=1)
    raw = torch.randn(6, q.size)
    z, _ = q(raw, q.noise(raw) * 0)
    torch.testing.assert_close(z, raw[:, :5] * torch.tensor(1.5).sigmoid())


def test_a_gaussians_path_gradient_leaves_out_the_density() -> None:
    q = GaussianPosterior(2)
    raw = torch.zeros(1, 4, requires_grad=True)
    _, log_q = q(raw, torch.ones(1, 2), path_gradient=True)
    (found,) = torch.autograd.grad(log_q.sum(), raw)
    assert found[0].tolist() == pytest.approx([-1, -1, -0.5, -0.5])  # through z alone


def test_equal_logits_of_categories_cost_nothing_and_certain_ones_log_k() -> None:
    q = CategoricalPosterior(3, categories=5)
    assert q.kl(torch.full((2, 15), 0.7)).abs().max() < 1e-6
    certain = torch.zeros(2, 3, 5)
    certain[..., 1] = 100
    torch.testing.assert_close(q.kl(certain.flatten(1)), torch.full((2, 3), math.log(5)))


def test_categories_are_relaxed_in_training_and_one_hot_in_evaluation() -> None:
    torch.manual_seed(0)
    q = CategoricalPosterior(2, categories=3, relaxation=0.5)
    raw = torch.randn(1, 6)
    relaxed = q(raw, q.noise(raw))[0].unflatten(1, (2, 3))
    torch.testing.assert_close(relaxed.sum(2), torch.ones(1, 2))
    assert relaxed.max() < 1
    z, log_q = q.eval()(raw, q.noise(raw, 40_000))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    p = raw.unflatten(1, (2, 3)).softmax(2)
    assert (z.mean((0, 1)).view(2, 3) - p[0]).abs().max() < 0.013  # 5 standard errors
    expected = (z.unflatten(2, (2, 3)) * p.log()).sum((2, 3))
    torch.testing.assert_close(log_q, expected)


def test_the_gaussian_is_the_losses() -> None:
    q, raw, noise = shaken(GaussianPosterior(3))
    z, log_q = q(raw, noise)
    mean, logvar = raw.chunk(2, 1)
    torch.testing.assert_close(log_q, normal_log_prob(z, mean, logvar))
    torch.testing.assert_close(q.kl(raw), kl_standard_normal(mean, logvar))


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("normal", {}, "unknown posterior 'normal'; choose from gaussian, full, iaf, categorical"),
    ("iaf", {"step": 2}, "steps"),
    ("gaussian", {"steps": 2}, "steps"),
    ("iaf", {"steps": 0}, "steps 0"),
    ("categorical", {"categories": 1}, "categories 1"),
]


@pytest.mark.parametrize(("name", "options", "words"), WRONG)
def test_bad_arguments_are_named(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        posterior(name, 3, **options)


@torch.no_grad()
@pytest.mark.parametrize("name", ["full", "iaf"])
def test_densities_are_float32_under_autocast(name: str) -> None:
    """The same rounded numbers as in float64, but for IAF's own network in bfloat16."""
    torch.manual_seed(0)
    q = posterior(name, 40).eval()
    raw = torch.randn(64, q.size).bfloat16()
    noise = torch.randn(64, 40).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        z, log_q = q(raw, noise)
        kl = q.kl(raw)
    assert z.dtype == log_q.dtype == torch.float32
    exact_z, exact = q.double()(raw.double(), noise.double())
    assert (log_q - exact).abs().max() < (1e-4 if name == "full" else 0.05)
    if name == "full":
        torch.testing.assert_close(z, exact_z.float(), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(kl.sum(1), q.kl(raw.double()).sum(1).float())


@torch.no_grad()
def test_the_centre_is_the_mean_but_for_iaf() -> None:
    for fresh in (GaussianPosterior(3), FullPosterior(3), CategoricalPosterior(2, 3)):
        q, raw, _ = shaken(fresh)
        mean = q(raw, q.noise(raw, 100_000))[0].mean(0)
        assert (q.centre(raw) - mean).abs().max() < 0.06
    q, raw, noise = shaken(IAFPosterior(3, steps=3, hidden_dims=[7], context=2))
    mean = q(raw, q.noise(raw, 100_000))[0].mean(0)
    assert (q.centre(raw) - mean).abs().max() > 0.06
    torch.testing.assert_close(q.centre(raw), q(raw, 0 * noise[0])[0])
