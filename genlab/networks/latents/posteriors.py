"""Approximate posteriors q(z|x), by name: the encoder's numbers and noise become draws of z.

Full covariance: Kingma & Welling 2019, arXiv:1906.02691, section 2.5.1. IAF: Kingma et al. 2016,
arXiv:1606.04934. Categories: Jang, Gu, Poole 2016, arXiv:1611.01144 (Gumbel-softmax). Departures:
IAF's numbers from the encoder enter the first layer of every step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.augment.draws import Params, Shape, for_images, normal, uniform
from genlab.contracts import Batch
from genlab.losses.kl import LOG_2PI, kl_standard_normal, normal_log_prob
from genlab.networks.arguments import check_settings
from genlab.networks.flows.masked import MaskedContextNet

ROWS = 4096  # latents decoded at a time; more leave the cache, 1.6 times slower
STREAM = 114  # of validation's draws
OPEN = 1.5  # start of IAF's gate before the sigmoid: a step changes little


class GaussianPosterior(nn.Module):
    """Independent normal latents.

    Args:
        latent_dim: D.

    Attributes:
        size: numbers that the encoder gives.
        code_dim: width of z.
        exact_kl: True if its KL to the standard prior is known in closed form.
    """

    exact_kl = True

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.dim = self.code_dim = latent_dim
        self.size = 2 * latent_dim

    def moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of each latent: (B, size) -> 2 x (B, D)."""
        mean, logvar = raw[:, : self.dim], raw[:, self.dim : 2 * self.dim]
        return mean, logvar

    def centre(self, raw: Tensor) -> Tensor:
        """The latents of an image, their mean: (B, size) -> (B, code_dim)."""
        return self.moments(raw)[0]

    def noise(self, raw: Tensor, k: int | None = None) -> Tensor:
        """Noise for one draw, (B, D), or for k, (k, B, D)."""
        like = raw[:, : self.dim]
        return torch.randn_like(like if k is None else like.expand(k, -1, -1))

    def own_noise(self, batch: Batch) -> Tensor:
        """Noise for one draw, the same in every epoch, batch and process: -> (B, code_dim)."""
        return for_images(self._draw, batch, training=False, stream=STREAM)["noise"]

    def _draw(self, shape: Shape, generator: torch.Generator) -> Params:
        return normal(self.dim)(shape, generator)

    def forward(
        self, raw: Tensor, noise: Tensor, path_gradient: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Draws and their log-densities: (B, size), (..., B, D) -> (..., B, code_dim), (..., B)."""
        mean, logvar = self.moments(raw)
        z = mean + (0.5 * logvar).exp() * noise
        if path_gradient:
            mean, logvar = mean.detach(), logvar.detach()
        return z, normal_log_prob(z, mean, logvar)

    def kl(self, raw: Tensor) -> Tensor:
        """KL to the standard prior, nats of each latent: (B, size) -> (B, D)."""
        return kl_standard_normal(*self.moments(raw))


class FullPosterior(GaussianPosterior):
    """Normal latents with a full covariance L L^T, L lower triangular; float32 under any autocast.

    Args:
        latent_dim: D.
    """

    places: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__(latent_dim)
        rows, columns = torch.tril_indices(latent_dim, latent_dim, -1)
        self.register_buffer("places", rows * latent_dim + columns, persistent=False)
        self.size = 2 * latent_dim + len(self.places)

    def factor(self, raw: Tensor) -> Tensor:
        """L: (B, size) -> (B, D, D)."""
        raw = _precise(raw)
        below = raw.new_zeros(len(raw), self.dim**2).index_copy(
            1, self.places, raw[:, 2 * self.dim :]
        )
        diagonal = (0.5 * raw[:, self.dim : 2 * self.dim]).exp()
        return below.unflatten(1, (self.dim, self.dim)) + torch.diag_embed(diagonal)

    def moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of each latent alone: (B, size) -> 2 x (B, D)."""
        return _precise(raw)[:, : self.dim], self.factor(raw).square().sum(2).log()

    def forward(
        self, raw: Tensor, noise: Tensor, path_gradient: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See `GaussianPosterior.forward`; without ``path_gradient``."""
        raw, noise = _precise(raw), _precise(noise)
        with torch.autocast(raw.device.type, enabled=False):
            z = raw[:, : self.dim] + (self.factor(raw) @ noise[..., None])[..., 0]
        half_log_det = 0.5 * raw[:, self.dim : 2 * self.dim].sum(1)
        return z, -0.5 * (noise.square().sum(-1) + self.dim * LOG_2PI) - half_log_det

    def kl(self, raw: Tensor) -> Tensor:
        """KL to N(0, 1) in nats, whose sum over latents alone has a meaning: -> (B, D)."""
        raw = _precise(raw)
        mean, logvar = raw[:, : self.dim], raw[:, self.dim : 2 * self.dim]
        return 0.5 * (mean.square() + self.factor(raw).square().sum(2) - 1 - logvar)


class IAFPosterior(GaussianPosterior):
    """Normal latents, then gated autoregressive steps that draw in one pass each.

    Args:
        latent_dim: D.
        steps: number of steps, every other in reversed order.
        hidden_dims: widths of each step's masked network.
        context: numbers of the encoder that every step sees.
        activation: activation of the masked networks, by name.
    """

    exact_kl = False

    def __init__(
        self,
        latent_dim: int,
        steps: int = 2,
        hidden_dims: Sequence[int] = (128,),
        context: int = 32,
        activation: str = "elu",
    ) -> None:
        super().__init__(latent_dim)
        if min(steps, context) < 1:
            raise ValueError(f"steps {steps} and context {context} must be at least 1")
        self.size = 2 * latent_dim + context
        self.steps = nn.ModuleList(
            MaskedContextNet(latent_dim, 2, hidden_dims, activation, context) for _ in range(steps)
        )

    def centre(self, raw: Tensor) -> Tensor:
        """The latents without noise, which are not their mean: (B, size) -> (B, D)."""
        return self(raw, torch.zeros_like(raw[:, : self.dim]))[0]

    def forward(
        self, raw: Tensor, noise: Tensor, path_gradient: bool = False
    ) -> tuple[Tensor, Tensor]:
        """See `GaussianPosterior.forward`; without ``path_gradient``."""
        z, log_q = super().forward(_precise(raw), _precise(noise))
        context = raw[:, 2 * self.dim :]
        for number, net in enumerate(self.steps):
            z = z.flip(-1) if number else z
            mean, gate = _precise(net(z, context)).unflatten(-1, (self.dim, 2)).unbind(-1)
            z, change = iaf_step(z, mean, gate + OPEN)
            log_q = log_q + change
        return z, log_q


class CategoricalPosterior(GaussianPosterior):
    """Categorical latents, relaxed by Gumbel noise in training and one-hot in evaluation.

    Args:
        latent_dim: D, number of categorical variables.
        categories: K of each.
        relaxation: temperature that divides logits and noise in training.
    """

    def __init__(self, latent_dim: int, categories: int = 10, relaxation: float = 0.67) -> None:
        super().__init__(latent_dim)
        if categories < 2 or relaxation <= 0:
            raise ValueError(f"categories {categories} must be >= 2, relaxation {relaxation} > 0")
        self.categories, self.relaxation = categories, relaxation
        self.size = self.code_dim = latent_dim * categories

    def moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and log-variances of the categories: (B, D K) -> 2 x (B, D K)."""
        p = raw.unflatten(1, (self.dim, self.categories)).softmax(2).flatten(1)
        return p, (p * (1 - p)).clamp(min=1e-12).log()

    def noise(self, raw: Tensor, k: int | None = None) -> Tensor:
        """Gumbel noise for one draw, (B, D K), or for k, (k, B, D K)."""
        return _gumbel(torch.rand_like(_precise(raw if k is None else raw.expand(k, -1, -1))))

    def _draw(self, shape: Shape, generator: torch.Generator) -> Params:
        return {"noise": _gumbel(uniform((shape[0], self.code_dim), 0.0, 1.0, generator))}

    def forward(
        self, raw: Tensor, noise: Tensor, path_gradient: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Draws, and log q of the likeliest categories in them; without ``path_gradient``."""
        noisy = (_precise(raw) + noise).unflatten(-1, (self.dim, self.categories))
        chosen = noisy.argmax(-1)
        log_p = _precise(raw).unflatten(1, (self.dim, self.categories)).log_softmax(2)
        log_q = log_p.expand_as(noisy).gather(-1, chosen[..., None])[..., 0].sum(-1)
        if self.training:
            return (noisy / self.relaxation).softmax(-1).flatten(-2).to(raw.dtype), log_q
        return F.one_hot(chosen, self.categories).to(raw.dtype).flatten(-2), log_q

    def kl(self, raw: Tensor) -> Tensor:
        """KL to equally likely categories, not of the relaxed draws: (B, D K) -> (B, D)."""
        log_p = _precise(raw).unflatten(1, (self.dim, self.categories)).log_softmax(2)
        return (log_p.exp() * (log_p + math.log(self.categories))).sum(2)


POSTERIORS: dict[str, type[GaussianPosterior]] = {
    "gaussian": GaussianPosterior,
    "full": FullPosterior,
    "iaf": IAFPosterior,
    "categorical": CategoricalPosterior,
}


def posterior(name: str, latent_dim: int, **kwargs: Any) -> GaussianPosterior:
    """A posterior by name.

    Args:
        name: ``gaussian``, ``full``, ``iaf`` or ``categorical``.
        latent_dim: D.
        **kwargs: settings of `IAFPosterior` or `CategoricalPosterior`.

    Raises:
        ValueError: unknown name or setting, or a setting out of range.
    """
    if name not in POSTERIORS:
        raise ValueError(f"unknown posterior {name!r}; choose from {', '.join(POSTERIORS)}")
    check_settings(f"posterior {name}", POSTERIORS[name], kwargs)
    return POSTERIORS[name](latent_dim, **kwargs)


def draws_at_a_time(k: int, images: int) -> list[int]:
    """Numbers of draws, k in all, that are about `ROWS` latents each of that many images."""
    step = max(1, ROWS // images)
    return [min(step, k - done) for done in range(0, k, step)]


def iaf_step(z: Tensor, mean: Tensor, gate: Tensor) -> tuple[Tensor, Tensor]:
    """Latents sigmoid(gate) z + (1 - sigmoid(gate)) mean, and the change of log q, (...)."""
    share = gate.sigmoid()
    return share * z + (1 - share) * mean, -F.logsigmoid(gate).sum(-1)


def _gumbel(numbers: Tensor) -> Tensor:
    """Gumbel noise of uniform numbers."""
    return -(-numbers.clamp(min=1e-20).log()).clamp(min=1e-20).log()


def _precise(x: Tensor) -> Tensor:
    """At least float32, under any autocast."""
    return x if x.dtype == torch.float64 else x.float()
