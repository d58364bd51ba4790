"""Residual quantiser: each stage's codebook quantises what the stages before it left.

Zeghidour et al. 2021, arXiv:2107.03312 (for sound); Lee et al. 2022, arXiv:2203.01941 (for images,
with one codebook for all stages). Departures: a codebook for each stage; no stage is dropped.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genlab.losses import vq
from genlab.networks.autoencoders.quantizer import Quantized, VectorQuantizer, straight_through


class ResidualQuantizer(nn.Module):
    """Q vector quantisers in a row; a place has Q codes, and the vector is the sum of theirs.

    The gradient passes straight through once, around the whole sum.

    Args:
        stages: Q.
        num_codes: K of each stage.
        code_dim: D, the width of a code vector.
        **codebook: arguments of each stage's `VectorQuantizer`.

    Raises:
        ValueError: an argument is out of its range.
    """

    levels = ()

    def __init__(self, stages: int, num_codes: int, code_dim: int, **codebook: Any) -> None:
        super().__init__()
        if stages < 1:
            raise ValueError(f"stages {stages} must be >= 1")
        self.stages, self.num_codes, self.code_dim = stages, num_codes, code_dim
        self.parts = nn.ModuleList(
            VectorQuantizer(num_codes, code_dim, **codebook) for _ in range(stages)
        )

    def forward(self, z: Tensor) -> Quantized:
        """Codes (B, h, w Q), the stages of a place next to each other: z (B, D, h, w)."""
        with torch.autocast(z.device.type, enabled=False):
            z = z if z.dtype == torch.float64 else z.float()
            done, sums, codes = torch.zeros_like(z), [], []
            for part in self.parts:
                found = part(z.detach() - done)
                sums.append(done + found.vectors)
                codes.append(found.codes)
                done = done + found.vectors.detach()
            grid = torch.stack(codes, dim=-1).flatten(2)  # (B, h, w Q)
            return Quantized(straight_through(done, z), grid, torch.stack(sums, dim=1))

    def embed(self, codes: Tensor) -> Tensor:
        """Sums of the stages' vectors: (B, h, w Q) -> (B, D, h, w)."""
        apart = codes.unflatten(-1, (-1, self.stages)).unbind(-1)
        parts: list[Any] = list(self.parts)
        vectors = [part.embed(one) for part, one in zip(parts, apart, strict=True)]
        return torch.stack(vectors).sum(0)

    def terms(self, z: Tensor, found: Quantized) -> dict[str, Tensor]:
        """Terms of `VectorQuantizer`, summed over stages."""
        sums = found.vectors.unbind(1)  # Q x (B, D, h, w)
        first = self.parts[0]
        assert isinstance(first, VectorQuantizer)
        each = [vq.commitment(z, e) for e in sums]
        terms = {"commitment": first.commitment_weight * torch.stack(each).sum(0)}
        if first.learn == "gradient":
            terms["codebook"] = torch.stack([vq.codebook(z, e) for e in sums]).sum(0)
        return terms

    def update(self) -> None:
        """Move every stage's codebook; call once per optimiser step."""
        for part in self.parts:
            assert isinstance(part, VectorQuantizer)
            part.update()
