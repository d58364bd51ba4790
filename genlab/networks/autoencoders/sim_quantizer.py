"""SimVQ: all codes are one learned linear map of fixed random vectors, so that all of them move.

Zhu et al. 2024, arXiv:2411.02038. Departures: no bias in the map, and beta on the commitment alone
(the reference code has ``legacy=True``, which puts it on the codebook's term).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.losses import vq
from genlab.networks.autoencoders.quantizer import Quantized, nearest_code, straight_through


class SimQuantizer(nn.Module):
    """Nearest-neighbour quantiser whose codebook is C W, with C frozen and W learned.

    Args:
        num_codes: K.
        code_dim: D, the width of a code vector.
        commitment_weight: beta of ||z - sg(e)||^2.

    Raises:
        ValueError: an argument is out of its range.
    """

    stages, levels = 1, ()
    frozen: Tensor

    def __init__(self, num_codes: int, code_dim: int, commitment_weight: float = 0.25) -> None:
        super().__init__()
        if num_codes < 2 or code_dim < 1:
            raise ValueError(f"num_codes {num_codes} must be >= 2 and code_dim {code_dim} >= 1")
        self.num_codes, self.code_dim = num_codes, code_dim
        self.commitment_weight = commitment_weight
        self.register_buffer("frozen", torch.randn(num_codes, code_dim) / code_dim**0.5)
        self.map = nn.Linear(code_dim, code_dim, bias=False)

    def forward(self, z: Tensor) -> Quantized:
        """Replace each vector by its nearest code: z (B, D, h, w)."""
        with torch.autocast(z.device.type, enabled=False):
            z = z if z.dtype == torch.float64 else z.float()
            codebook = self.map(self.frozen)  # (K, D)
            rows = z.detach().movedim(1, -1)  # (B, h, w, D)
            codes = nearest_code(rows.flatten(0, -2), codebook.detach()).view(rows.shape[:-1])
            e = F.embedding(codes, codebook).movedim(-1, 1)
            return Quantized(straight_through(e, z), codes, e)

    def embed(self, codes: Tensor) -> Tensor:
        """Code vectors of indices: (B, h, w) -> (B, D, h, w)."""
        return F.embedding(codes, self.map(self.frozen)).movedim(-1, 1)

    def terms(self, z: Tensor, found: Quantized) -> dict[str, Tensor]:
        """``commitment`` and ``codebook``."""
        commitment = self.commitment_weight * vq.commitment(z, found.vectors)
        return {"commitment": commitment, "codebook": vq.codebook(z, found.vectors)}

    def update(self) -> None:
        """No average moves: the map learns by gradient."""
