"""Gumbel-softmax quantiser: codes are samples of a relaxed categorical posterior.

Jang, Gu, Poole 2016, arXiv:1611.01144. Departures: in eval mode the most probable code is taken.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.losses import vq
from genlab.networks.autoencoders.quantizer import Quantized


class GumbelQuantizer(nn.Module):
    """Quantiser that samples its codes from a relaxed categorical posterior.

    In training z is projected to logits and a Gumbel-softmax sample weights the code vectors; in
    eval mode the most probable code is taken. The temperature falls exponentially with the
    optimiser step, counted by `update`.

    Args:
        num_codes: K.
        code_dim: D, width of z and of a code vector.
        temperature: tau at the first step.
        final_temperature: its lowest value.
        anneal_rate: tau = temperature * exp(-anneal_rate * step).
        hard: straight-through one-hot samples in training instead of relaxed ones.
        kl_weight: factor of KL(q || uniform).

    Raises:
        ValueError: an argument is out of its range.
    """

    stages, levels = 1, ()
    step: Tensor

    def __init__(
        self,
        num_codes: int,
        code_dim: int,
        temperature: float = 1.0,
        final_temperature: float = 0.0625,
        anneal_rate: float = 1e-4,
        hard: bool = False,
        kl_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if num_codes < 2 or code_dim < 1:
            raise ValueError(f"num_codes {num_codes} must be >= 2 and code_dim {code_dim} >= 1")
        if not 0 < final_temperature <= temperature:
            raise ValueError(f"temperature {temperature} must be >= {final_temperature} > 0")
        self.num_codes, self.code_dim = num_codes, code_dim
        self.range, self.anneal_rate = (final_temperature, temperature), anneal_rate
        self.hard, self.kl_weight = hard, kl_weight
        self.to_logits = nn.Conv2d(code_dim, num_codes, 1)
        self.codebook = nn.Parameter(torch.randn(num_codes, code_dim))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Tensor) -> Quantized:
        """Sample (training) or choose (eval) a code for each vector: z (B, D, h, w)."""
        with torch.autocast(z.device.type, enabled=False):
            logits = self.to_logits(z.float())  # (B, K, h, w)
            codes = logits.argmax(1)
            if not self.training:
                return Quantized(e := self.embed(codes), codes, e, logits)
            noise = -torch.empty_like(logits).exponential_().log()  # Gumbel(0, 1)
            soft = ((logits + noise) / self.temperature).softmax(1)
            codes = soft.argmax(1)
            weights = soft
            if self.hard:
                one_hot = torch.zeros_like(soft).scatter_(1, codes[:, None], 1.0)
                weights = one_hot + (soft - soft.detach())
            e = torch.einsum("bkhw,kd->bdhw", weights, self.codebook)
            return Quantized(e, codes, e, logits)

    @property
    def temperature(self) -> Tensor:
        """Tau at the current optimiser step, a scalar on the module's device."""
        final, first = self.range
        return (first * torch.exp(-self.anneal_rate * self.step)).clamp(min=final)

    def embed(self, codes: Tensor) -> Tensor:
        """Code vectors of indices: (B, h, w) -> (B, D, h, w)."""
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    def terms(self, z: Tensor, found: Quantized) -> dict[str, Tensor]:
        """``kl`` to the uniform distribution of codes."""
        assert found.logits is not None
        return {"kl": self.kl_weight * vq.kl_uniform(found.logits)}

    @torch.no_grad()
    def update(self) -> None:
        """Count an optimiser step."""
        self.step += 1
