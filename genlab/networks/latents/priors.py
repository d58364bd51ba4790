"""Priors p(z) of a VAE, by name, each with a log-density and draws.

VampPrior: Tomczak & Welling 2017, arXiv:1705.07120; reference code jmtomczak/vae_vampprior. Flow:
MAF, Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057. Departures: pseudo-inputs are sigmoids
of free numbers, the reference's a hardtanh, beyond which they never move again; draws choose a
pseudo-input at random, the reference's take the first ones in turn.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.contracts import DataModule
from genlab.losses.kl import normal_log_prob
from genlab.networks.arguments import check_settings
from genlab.networks.flows import bijections
from genlab.networks.flows.autoregressive import Autoregressive
from genlab.networks.flows.couplings import change
from genlab.networks.flows.masked import masked_net
from genlab.networks.gan.critics import normalises_over_the_batch

Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
ROWS = 256  # latents compared with all components at a time
DARKEST = 0.02  # of pseudo-inputs at the start: nearer to 0 or 1 they hardly move


class StandardPrior(nn.Module):
    """N(0, 1) of every latent.

    Args:
        latent_dim: D.
    """

    like: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.dim = latent_dim
        self.register_buffer("like", torch.zeros(()), persistent=False)  # device and precision

    def check_encoder(self, encoder: nn.Module) -> None:
        """Refuse an encoder that does not fit."""

    def prepare(self, data: object) -> None:
        """Start from a data module's training images, in a fresh training."""

    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        """Log-density in nats: (..., D) -> (...).

        Args:
            z: latents.
            encode: images (N, C, H, W) -> mean and log-variance of their latents, 2 x (N, D).
        """
        zero = torch.zeros((), device=z.device, dtype=z.dtype)
        return normal_log_prob(z, zero, zero)

    def sample(self, n: int, temperature: float, encode: Encode) -> Tensor:
        """Draw z, each component's spread times ``temperature``: (n, D)."""
        device, dtype = self.like.device, self.like.dtype
        return temperature * torch.randn(n, self.dim, device=device, dtype=dtype)


class CategoricalPrior(StandardPrior):
    """Equally likely categories, one-hot.

    Args:
        latent_dim: number of variables.
        categories: K of each.
    """

    def __init__(self, latent_dim: int, categories: int) -> None:
        super().__init__(latent_dim)
        self.categories = categories

    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        """Log-probability in nats: (..., D K) -> (...)."""
        return torch.full(z.shape[:-1], -self.dim * math.log(self.categories), device=z.device)

    def sample(self, n: int, temperature: float, encode: Encode) -> Tensor:
        """Draw categories: (n, D K).

        Raises:
            ValueError: a temperature other than 1.
        """
        if temperature != 1.0:
            raise ValueError(
                f"temperature {temperature} cannot be combined with posterior categorical, whose "
                "prior is equally likely categories; use 1"
            )
        shape = (n, self.dim)
        drawn = torch.randint(self.categories, shape, device=self.like.device)
        return nn.functional.one_hot(drawn, self.categories).to(self.like.dtype).flatten(1)


class Mixture(StandardPrior):
    """Base of mixtures of normal densities.

    Args:
        latent_dim: D.
    """

    @abstractmethod
    def components(self, encode: Encode) -> tuple[Tensor, Tensor, Tensor]:
        """Means, log-variances and log-weights: 2 x (K, D), (K,)."""

    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        """See `StandardPrior.log_prob`."""
        return mixture_log_prob(z, *self.components(encode))

    def sample(self, n: int, temperature: float, encode: Encode) -> Tensor:
        """Draw components by their weights, then z from them: (n, D)."""
        mean, logvar, log_weight = self.components(encode)
        chosen = torch.multinomial(log_weight.exp(), n, replacement=True)
        noise = torch.randn(n, self.dim, device=mean.device, dtype=mean.dtype)
        return mean[chosen] + temperature * (0.5 * logvar[chosen]).exp() * noise


class MixturePrior(Mixture):
    """Mixture of normal densities with learned means, variances and weights.

    Args:
        latent_dim: D.
        components: K.
    """

    def __init__(self, latent_dim: int, components: int = 50) -> None:
        super().__init__(latent_dim)
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        self.mean = nn.Parameter(torch.randn(components, latent_dim))
        self.logvar = nn.Parameter(torch.zeros(components, latent_dim))
        self.weight = nn.Parameter(torch.zeros(components))  # logits

    def components(self, encode: Encode) -> tuple[Tensor, Tensor, Tensor]:
        """See `Mixture.components`."""
        return self.mean, self.logvar, self.weight.log_softmax(0)


class VampPrior(Mixture):
    """Mixture of the posteriors of learned images, the pseudo-inputs.

    Each step encodes them too. An encoder that normalises over the batch is refused.

    Args:
        latent_dim: D.
        shape: (C, H, W) of the images, which lie in [0, 1].
        components: number of pseudo-inputs, equally likely.
    """

    started: Tensor

    def __init__(self, latent_dim: int, shape: Sequence[int], components: int = 500) -> None:
        super().__init__(latent_dim)
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        self.count = components
        self.register_buffer("started", torch.zeros((), dtype=torch.uint8))
        self.pseudo = nn.Parameter((0.5 + 0.02 * torch.randn(components, *shape)).logit())

    def check_encoder(self, encoder: nn.Module) -> None:
        """See `StandardPrior.check_encoder`.

        Raises:
            ValueError: it normalises over the batch.
        """
        if normalises_over_the_batch(encoder):
            raise ValueError("prior vamp cannot be combined with batch norm in the encoder")

    def prepare(self, data: object) -> None:
        """See `StandardPrior.prepare`; not without a data module."""
        if isinstance(data, DataModule) and not self.started:
            read = data.bank_dataloader("train", most=20 * self.count)
            self.start(torch.cat([data.to_device(batch)["image"] for batch in read]))

    @torch.no_grad()
    def start(self, image: Tensor) -> None:
        """Start from training images, (N, C, H, W), spread evenly over those given."""
        rows = torch.linspace(0, len(image) - 1, self.count).long()
        self.pseudo.copy_(image[rows].clamp(DARKEST, 1 - DARKEST).logit())
        self.started.fill_(1)

    def components(self, encode: Encode) -> tuple[Tensor, Tensor, Tensor]:
        """Means and log-variances of the pseudo-inputs' posteriors, and equal log-weights."""
        mean, logvar = encode(self.pseudo.sigmoid())
        return mean, logvar, mean.new_full((self.count,), -math.log(self.count))


class FlowPrior(StandardPrior):
    """Masked autoregressive flow from z to N(0, 1): it starts as N(0, 1); draws take D passes.

    Args:
        latent_dim: D.
        steps: number of autoregressive layers, every other in reversed order.
        hidden_dims: widths of each layer's masked network.
        coupling: map of a latent given those before it: ``affine``, ``additive`` or ``spline``.
    """

    def __init__(
        self,
        latent_dim: int,
        steps: int = 4,
        hidden_dims: Sequence[int] = (256,),
        coupling: str = "affine",
    ) -> None:
        super().__init__(latent_dim)
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        one, reverse = change(coupling), torch.arange(latent_dim).flip(0)
        layers: list[nn.Module] = []
        for number in range(steps):
            layers += [bijections.Permute(reverse.clone())] if number else []
            layers += [Autoregressive(masked_net(latent_dim, one.size, hidden_dims, "relu"), one)]
        self.flow = bijections.Chain(layers)

    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        """See `StandardPrior.log_prob`; without autocast inside."""
        with torch.autocast(z.device.type, enabled=False):
            rows = z if z.dtype == torch.float64 else z.float()
            u, log_det = self.flow(rows.reshape(-1, self.dim))
            return (super().log_prob(u, encode) + log_det).view(z.shape[:-1])

    def sample(self, n: int, temperature: float, encode: Encode) -> Tensor:
        """See `StandardPrior.sample`; the spread is that of the noise."""
        drawn: Tensor = self.flow.inverse(super().sample(n, temperature, encode))[0]
        return drawn


PRIORS: dict[str, type[StandardPrior]] = {
    "standard": StandardPrior,
    "mixture": MixturePrior,
    "vamp": VampPrior,
    "flow": FlowPrior,
}


def prior(name: str, latent_dim: int, shape: Sequence[int], **kwargs: Any) -> StandardPrior:
    """A prior by name.

    Args:
        name: ``standard``, ``mixture``, ``vamp`` or ``flow``.
        latent_dim: D.
        shape: (C, H, W) of the images.
        **kwargs: settings of `MixturePrior`, `VampPrior` or `FlowPrior`.

    Raises:
        ValueError: unknown name or setting, or a setting out of range.
    """
    if name not in PRIORS:
        raise ValueError(f"unknown prior {name!r}; choose from {', '.join(PRIORS)}")
    check_settings(f"prior {name}", PRIORS[name], kwargs)
    if name == "vamp":
        return VampPrior(latent_dim, shape, **kwargs)
    return PRIORS[name](latent_dim, **kwargs)


def once(encode: Encode) -> Encode:
    """An encoder for `VampPrior` that encodes the pseudo-inputs at the first call only.

    Args:
        encode: see `StandardPrior.log_prob`; its weights must not change between calls.
    """
    kept: list[tuple[Tensor, Tensor]] = []

    def first(image: Tensor) -> tuple[Tensor, Tensor]:
        if not kept:
            kept.append(encode(image))
        return kept[0]

    return first


def mixture_log_prob(z: Tensor, mean: Tensor, logvar: Tensor, log_weight: Tensor) -> Tensor:
    """Log-density of a mixture of diagonal normals, in nats: (..., D) -> (...).

    Args:
        z: (..., D).
        mean: (K, D).
        logvar: (K, D).
        log_weight: (K,).
    """
    parts = [
        (normal_log_prob(part[:, None], mean, logvar) + log_weight).logsumexp(1)
        for part in z.reshape(-1, z.shape[-1]).split(ROWS)
    ]
    return torch.cat(parts).view(z.shape[:-1])
