"""Levels of latents, each with a prior and a posterior that know the levels above.

Ladder: Sonderby et al. 2016, arXiv:1602.02282. Residual: Vahdat & Kautz 2020 (NVAE),
arXiv:2007.03898. Departures: the residual posterior's numbers are not clamped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genlab.networks.mlps import mlp

FORMS = ("independent", "ladder", "residual")


class Normal(NamedTuple):
    """A diagonal normal density."""

    mean: Tensor  # (..., D)
    logvar: Tensor  # (..., D)


class Level(nn.Module):
    """Normal latents z_l with p(z_l | levels above) and q(z_l | x, levels above).

    Args:
        dim: D of these latents.
        above: latents of all levels above.
        features: numbers from the encoder.
        hidden_dims: widths of the dense layers of both networks.
        activation: activation after each of them, by name.
        form: ``independent``; ``ladder``: the posterior multiplies the encoder's normal density
            with the prior's; ``residual``: the encoder's numbers move the prior's.

    Raises:
        ValueError: unknown form or activation.
    """

    def __init__(
        self,
        dim: int,
        above: int,
        features: int,
        hidden_dims: Sequence[int],
        activation: str,
        form: str,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"unknown form {form!r}; choose from {', '.join(FORMS)}")
        self.form = form
        self.to_prior = mlp(above, *hidden_dims, 2 * dim, activation=activation)
        self.to_posterior = mlp(features + above, *hidden_dims, 2 * dim, activation=activation)

    def prior(self, above: Tensor) -> Normal:
        """p(z_l | levels above): (..., above) -> 2 x (..., D)."""
        return Normal(*self.to_prior(above).chunk(2, -1))

    def posterior(self, features: Tensor, above: Tensor, prior: Normal) -> Normal:
        """q(z_l | x, levels above): (B, features), (..., B, above) -> 2 x (..., B, D)."""
        seen = features.expand(*above.shape[:-1], -1)
        found = Normal(*self.to_posterior(torch.cat([seen, above], -1)).chunk(2, -1))
        if self.form == "independent":
            return found
        return ladder(found, prior) if self.form == "ladder" else residual(found, prior)


def ladder(q: Normal, p: Normal) -> Normal:
    """The normalised product of two normal densities: precisions add."""
    logvar = -torch.logaddexp(-q.logvar, -p.logvar)
    share = (logvar - q.logvar).exp()
    return Normal(share * q.mean + (1 - share) * p.mean, logvar)


def residual(change: Normal, p: Normal) -> Normal:
    """The density p, its mean moved by a mean and its log-variance by a log-variance."""
    return Normal(p.mean + change.mean, p.logvar + change.logvar)
