"""Balanced assignments of samples to prototypes, as targets without a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab import distributed


@torch.no_grad()
def sinkhorn(
    scores: Tensor,
    temperature: float = 0.05,
    iterations: int = 3,
    counted: Tensor | None = None,
) -> Tensor:
    """Codes: exp(scores / temperature), scaled so that all prototypes get the same total.

    Prototypes and samples are normalised in turn, samples last. The samples of all processes are
    assigned together; processes may hold different numbers of them. All is done with logarithms, in
    float32 at least: a score of 0.56 at temperature 0.05 overflows half precision.

    Args:
        scores: similarities of this process's samples with the prototypes, (B, K).
        temperature: epsilon of the entropy; lower is harder.
        iterations: number of normalisations of each kind.
        counted: samples that count in the prototypes' totals, (B,) bool; None for all. The others
            are assigned as they would be if these were all.

    Returns:
        (B, K), float32 at least; rows sum to 1.

    Raises:
        ValueError: a temperature that is not positive, or no iteration.

    Sources: Cuturi 2013, arXiv:1306.0895; Caron et al. 2020, arXiv:2006.09882, section 3.1.
    Departure: the totals are 1 in place of 1 / K and 1 / B; a constant factor drops out in the next
    normalisation.
    """
    if not temperature > 0:
        raise ValueError(f"sinkhorn temperature {temperature} must be above 0")
    if iterations < 1:
        raise ValueError(f"sinkhorn iterations {iterations} must be at least 1")
    with torch.autocast(scores.device.type, enabled=False):
        log_codes = scores.to(torch.promote_types(scores.dtype, torch.float32)) / temperature
        for _ in range(iterations):
            log_codes = log_codes - _total(log_codes, counted)  # of each prototype
            log_codes = log_codes.log_softmax(1)  # of each sample
        return log_codes.exp()


def _total(log_codes: Tensor, counted: Tensor | None) -> Tensor:
    """Logarithm of each column's sum over the rows of all processes: (B, K) -> (K,)."""
    if counted is not None:
        log_codes = log_codes.masked_fill(~counted[:, None], float("-inf"))
    own = log_codes.logsumexp(0)
    most = distributed.all_reduce_max(own)
    return most + distributed.all_reduce_sum((own - most).exp()).log()
