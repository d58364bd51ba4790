"""Latent densities of flows: independent normal or logistic numbers, optionally per class."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENTS = ("normal", "logistic")


class Latents(nn.Module):
    """The density of z, (B, D).

    Args:
        dim: D.
        kind: ``normal`` or ``logistic`` (scale 1; NICE's on MNIST).
        num_classes: K means and deviations, learned, one a class; 0 for none. Without a label z
            is then a mixture of equally likely classes.

    Raises:
        ValueError: unknown kind.
    """

    like: Tensor

    def __init__(self, dim: int, kind: str = "normal", num_classes: int = 0) -> None:
        super().__init__()
        if kind not in LATENTS:
            raise ValueError(f"unknown latents {kind!r}; choose from {', '.join(LATENTS)}")
        self.dim, self.kind, self.num_classes = dim, kind, num_classes
        self.register_buffer("like", torch.zeros(()), persistent=False)  # device and precision
        self.mean = nn.Parameter(torch.zeros(num_classes, dim)) if num_classes else None
        self.log_std = nn.Parameter(torch.zeros(num_classes, dim)) if num_classes else None

    def log_prob(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Log-density in nats: (B, D), labels (B,) with -1 for unknown -> (B,)."""
        if self.mean is None or self.log_std is None:
            return self._standard(z).sum(1)
        every = self.log_prob_by_class(z)
        mixture = every.logsumexp(1) - math.log(self.num_classes)
        if label is None:
            return mixture
        own = every.gather(1, label.clamp(min=0)[:, None])[:, 0]
        return torch.where(label >= 0, own, mixture)

    def log_prob_by_class(self, z: Tensor) -> Tensor:
        """Log-density under every class: (B, D) -> (B, K)."""
        if self.mean is None or self.log_std is None:
            raise ValueError("these latents have no classes")
        pairs = zip(self.mean, self.log_std, strict=True)
        every = [self._standard((z - m) * (-s).exp()).sum(1) - s.sum() for m, s in pairs]
        return torch.stack(every, 1)

    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw z, its spread times ``temperature``: (n, D).

        Args:
            n: number of draws.
            label: classes (n,); if None, all are equally likely.
            temperature: 1 for the density itself, 0 for its centre.

        Raises:
            ValueError: labels without classes.
        """
        noise = self.like.expand(n, self.dim)
        z = torch.randn_like(noise)
        if self.kind == "logistic":
            z = torch.rand_like(noise).logit(1e-6)
        z = temperature * z
        if self.mean is None or self.log_std is None:
            if label is not None:
                raise ValueError("these latents have no classes; a label requires num_classes")
            return z
        drawn = torch.randint(self.num_classes, (n,), device=z.device)
        label = drawn if label is None else label.to(z.device)
        return z * self.log_std[label].exp() + self.mean[label]

    def _standard(self, z: Tensor) -> Tensor:
        """Log-density of each number: (...) -> (...)."""
        if self.kind == "logistic":
            return -F.softplus(z) - F.softplus(-z)
        return -0.5 * (z.square() + math.log(2 * math.pi))
