"""Quantisers without a codebook: each number of a vector is rounded by itself.

FSQ: Mentzer, Minnen, Agustsson, Tschannen 2023, arXiv:2309.15505. LFQ: Yu et al. 2023,
arXiv:2310.05737. Reference code: the papers' own and
lucidrains/vector-quantize-pytorch. Departures:
- indices are sums of integers, not of float32, which is wrong from 2^24 on;
- LFQ's entropy of the batch is that of all processes, and is left out in evaluation: it depends on
  the size of a batch;
- LFQ's probabilities have a lower factor by default (1, reference: 100), so that more than
  near-ties have a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab import distributed
from genlab.losses import vq
from genlab.networks.arguments import check_not_negative
from genlab.networks.autoencoders.quantizer import Quantized, straight_through

MOST_CODES = 2**62  # int64
SETS = {  # levels of the paper's table for about 2^n codes
    8: (8, 6, 5), 10: (8, 5, 5, 5), 12: (7, 5, 5, 5, 5), 14: (8, 8, 8, 6, 5),
    16: (8, 8, 8, 5, 5, 5),
}  # fmt: skip


def to_index(digits: Tensor, levels: Sequence[int]) -> Tensor:
    """Index of digits, the first the least significant: (..., d) int64 -> (...) int64."""
    steps = [math.prod(levels[:i]) for i in range(len(levels))]
    return (digits * torch.tensor(steps, device=digits.device)).sum(-1)


def to_digits(index: Tensor, levels: Sequence[int]) -> Tensor:
    """Digits of indices, the inverse of `to_index`: (...) int64 -> (..., d) int64."""
    steps = [math.prod(levels[:i]) for i in range(len(levels))]
    sizes = torch.tensor(levels, device=index.device)
    return index[..., None] // torch.tensor(steps, device=index.device) % sizes


class FiniteScalarQuantizer(nn.Module):
    """FSQ: every number is bounded by tanh and rounded to one of its L levels.

    There is no codebook and no loss. The code's numbers lie in [-1, 1]; of an even number of
    levels there is one more below 0 than above. An index has the first number as its least
    significant digit. The levels are in the state: weights for others are refused.

    Args:
        levels: L of each number, 2 or more.

    Raises:
        ValueError: no level, one below 2, or more codes than int64 counts.
    """

    stages = 1
    saved_levels: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(f"levels {list(levels)} must be one number or more, each at least 2")
        if math.prod(levels) > MOST_CODES:
            raise ValueError(f"levels {list(levels)} make more than {MOST_CODES:,} codes")
        self.levels, self.code_dim = tuple(levels), len(levels)
        self.num_codes = math.prod(levels)
        self.register_buffer("saved_levels", torch.tensor(levels))
        self.register_load_state_dict_pre_hook(_compare_levels)

    def forward(self, z: Tensor) -> Quantized:
        """Round each number of z (B, d, h, w)."""
        with torch.autocast(z.device.type, enabled=False):
            rows = z.movedim(1, -1)  # (B, h, w, d)
            rows = rows if rows.dtype == torch.float64 else rows.float()
            size = self.saved_levels.to(rows)
            offset = torch.where(self.saved_levels % 2 == 0, 0.5, 0.0).to(rows)
            half = (size - 1) * (1 + 1e-3) / 2
            bounded = (rows + torch.atanh(offset / half)).tanh() * half - offset
            middle = self.saved_levels // 2
            digits = (bounded.detach().round().nan_to_num().long() + middle).clamp(min=0)
            digits = digits.minimum(self.saved_levels - 1)
            codes = to_index(digits, self.levels)
            rounded = straight_through((digits - middle).to(rows), bounded) / middle
            return Quantized(q := rounded.movedim(-1, 1), codes, q.detach())

    def embed(self, codes: Tensor) -> Tensor:
        """Numbers of indices: (B, h, w) -> (B, d, h, w) in [-1, 1]."""
        middle = self.saved_levels // 2
        return ((to_digits(codes, self.levels) - middle) / middle).movedim(-1, 1)

    def terms(self, z: Tensor, found: Quantized) -> dict[str, Tensor]:
        """No terms: the reconstruction alone moves the encoder."""
        return {}

    def update(self) -> None:
        """No codebook moves."""


class LookupFreeQuantizer(nn.Module):
    """LFQ: every number becomes its sign, -1 for 0, and an entropy keeps all codes in use.

    p(bit = 1) = sigmoid(4 factor z). An index has the first number as its *most* significant bit.

    Args:
        num_codes: K, a power of 2; z has log2 K numbers.
        entropy_weight: factor of the entropies.
        diversity: gamma, factor of the batch's entropy.
        factor: tau of p(k | z) = softmax(2 tau z . c_k).
        commitment_weight: beta of ||z - sg(sign z)||^2.

    Raises:
        ValueError: an argument is out of its range.
    """

    stages = 1

    def __init__(
        self,
        num_codes: int,
        entropy_weight: float = 0.1,
        diversity: float = 1.0,
        factor: float = 1.0,
        commitment_weight: float = 0.25,
    ) -> None:
        super().__init__()
        self.code_dim = max(1, num_codes).bit_length() - 1
        if num_codes < 2 or num_codes != 1 << self.code_dim:
            raise ValueError(f"num_codes {num_codes} is not a power of 2, as lfq requires")
        check_not_negative(
            entropy_weight=entropy_weight, diversity=diversity, commitment_weight=commitment_weight
        )
        if factor <= 0:
            raise ValueError(f"factor {factor} must be > 0")
        self.num_codes, self.levels = num_codes, (2,) * self.code_dim
        self.entropy_weight, self.diversity = entropy_weight, diversity
        self.factor, self.commitment_weight = factor, commitment_weight

    def forward(self, z: Tensor) -> Quantized:
        """Take the sign of each number of z (B, d, h, w)."""
        with torch.autocast(z.device.type, enabled=False):
            z = z if z.dtype == torch.float64 else z.float()
            positive = z.detach() > 0
            codes = to_index(positive.movedim(1, -1).flip(-1).long(), self.levels)
            sign = 2 * positive.to(z) - 1
            return Quantized(straight_through(sign, z), codes, sign)

    def embed(self, codes: Tensor) -> Tensor:
        """Signs of indices: (B, h, w) -> (B, d, h, w)."""
        bits = to_digits(codes, self.levels).flip(-1).movedim(-1, 1)
        return 2.0 * bits - 1

    def terms(self, z: Tensor, found: Quantized) -> dict[str, Tensor]:
        """``commitment``, and ``entropy``: that of each place minus gamma times the batch's.

        In evaluation without the batch's, which depends on the size of a batch.
        """
        with torch.autocast(z.device.type, enabled=False):
            z = z if z.dtype == torch.float64 else z.float()
            logits = 4 * self.factor * z  # of a bit
            p = logits.sigmoid()
            entropy = vq.bit_entropy(logits).flatten(1).sum(1)  # (B,)
            if self.training:
                joint = _mean_joint(p.movedim(1, -1).flatten(0, -2))  # (K,)
                batch = torch.special.entr(joint.clamp(min=1e-12)).sum()
                entropy = entropy - self.diversity * batch * found.codes[0].numel()
            commitment = self.commitment_weight * vq.commitment(z, found.vectors)
            return {"commitment": commitment, "entropy": self.entropy_weight * entropy}

    def update(self) -> None:
        """No codebook moves."""


def _mean_joint(p: Tensor) -> Tensor:
    """Mean distribution of the codes over all rows of all processes: bits (N, d) -> (K,).

    The product of the distributions of two halves of the bits is a matrix product over rows, so
    that N x K numbers are never held.
    """
    bits = p.shape[1]
    left, right = (_joint(part) for part in p.split([bits // 2, bits - bits // 2], dim=1))
    total = distributed.all_reduce(left.T @ right)
    return total.flatten() / (len(p) * distributed.world_size())


def _joint(p: Tensor) -> Tensor:
    """Distribution of codes of independent bits, the most significant first: (N, d) -> (N, K)."""
    joint = p.new_ones(len(p), 1)
    for one in p.unbind(1):
        pair = torch.stack([1 - one, one], dim=1)  # (N, 2)
        joint = (joint[:, :, None] * pair[:, None]).flatten(1)
    return joint


def _compare_levels(module: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    """Refuse the weights of a quantiser with other levels, whatever their product."""
    assert isinstance(module, FiniteScalarQuantizer)
    saved = state.get(f"{prefix}saved_levels")
    if saved is not None and tuple(saved.tolist()) != module.levels:
        raise ValueError(f"levels {saved.tolist()} of the weights are not {list(module.levels)}")
