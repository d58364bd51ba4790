"""Probabilistic PCA: the linear Gaussian model of latents, by its closed form and by EM.

Tipping & Bishop 1999, J. R. Stat. Soc. B 61(3), 611-622. A VAE with a linear decoder, Gaussian
pixels of one variance and an exact posterior has the same optimum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

SMALLEST = 1e-10  # variance


class PPCA(NamedTuple):
    """x = W z + mean + noise, z standard normal, noise of one variance; float64."""

    weight: Tensor  # W (D, Q)
    mean: Tensor  # (D,)
    variance: Tensor  # of the noise, a scalar

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats: (N, D) -> (N,)."""
        d, q = self.weight.shape
        inner = self.weight.T @ self.weight + self.variance * torch.eye(q, dtype=torch.float64)
        off = x.double() - self.mean
        along = off @ self.weight
        square = off.square().sum(1) - (along @ torch.linalg.inv(inner) * along).sum(1)
        log_det = torch.logdet(inner) + (d - q) * self.variance.log()
        return -0.5 * (d * math.log(2 * math.pi) + log_det + square / self.variance)


def closed_form(x: Tensor, latents: int) -> PPCA:
    """The maximum of the likelihood, from the eigenvalues of the covariance.

    W = U (L - variance I)^(1/2) of the largest ``latents`` eigenvalues L and vectors U; the
    variance is the mean of the other eigenvalues.

    Args:
        x: (N, D).
        latents: Q, below D.

    Raises:
        ValueError: latents out of range.
    """
    covariance, mean = _moments(x, latents)
    values, vectors = torch.linalg.eigh(covariance)  # ascending
    variance = values[:-latents].mean().clamp_min(SMALLEST)
    gains = (values[-latents:] - variance).clamp_min(0).sqrt()
    return PPCA(vectors[:, -latents:] * gains, mean, variance)


def by_em(
    x: Tensor, latents: int, tolerance: float = 1e-9, most: int = 10_000, seed: int = 0
) -> PPCA:
    """The maximum of the likelihood by EM.

    Args:
        x: (N, D).
        latents: Q, below D.
        tolerance: relative change of the mean log-likelihood at which it stops.
        most: largest number of iterations.
        seed: seed of the first W.
    """
    before = after = None
    for number, (before, after) in enumerate(pairwise(em_steps(x, latents, seed))):
        gained = float(after.log_prob(x).mean() - before.log_prob(x).mean())
        scale = max(1.0, abs(float(after.log_prob(x).mean())))
        if gained <= tolerance * scale or number >= most:
            break
    assert after is not None
    return after


def em_steps(x: Tensor, latents: int, seed: int = 0) -> Iterator[PPCA]:
    """The models of EM, without end; none has a lower likelihood than the one before.

    Equations 29 and 30 of the paper's appendix, E and M step in one.

    Args:
        x: (N, D).
        latents: Q, below D.
        seed: seed of the first W.
    """
    covariance, mean = _moments(x, latents)
    dim, generator = len(mean), torch.Generator().manual_seed(seed)
    spread = covariance.diagonal().mean().clamp_min(SMALLEST)
    weight = torch.randn(dim, latents, generator=generator, dtype=torch.float64) * spread.sqrt()
    variance, eye = spread, torch.eye(latents, dtype=torch.float64)
    while True:
        yield PPCA(weight, mean, variance)
        inner = torch.linalg.inv(weight.T @ weight + variance * eye)  # M^-1
        pulled = covariance @ weight  # S W
        found = pulled @ torch.linalg.inv(variance * eye + inner @ weight.T @ pulled)
        left = covariance.diagonal().sum() - (pulled @ inner * found).sum()
        weight, variance = found, (left / dim).clamp_min(SMALLEST)


def _moments(x: Tensor, latents: int) -> tuple[Tensor, Tensor]:
    """Covariance (D, D) by N, and mean (D,)."""
    if not 0 < latents < x.shape[1]:
        raise ValueError(f"latents {latents} must be 1 to {x.shape[1] - 1}, the numbers less one")
    x = x.double()
    mean = x.mean(0)
    return (x - mean).T @ (x - mean) / len(x), mean
