"""Usage of a codebook."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab.networks.autoencoders.quantizer import count_codes


def perplexity(counts: Tensor) -> Tensor:
    """Effective number of codes: exp(entropy of their frequencies); counts (K,) -> scalar."""
    p = counts / counts.sum().clamp(min=1)
    return torch.special.entr(p).sum().exp()


class CodebookUsage(Metric):
    """Perplexity and fraction of codes used, over all batches and all ranks of an epoch.

    The perplexity of a batch depends on the batch's size; that of an epoch is what to report.

    Args:
        num_codes: K.

    Logs:
        val/perplexity, test/perplexity (codes, higher): effective number of codes in the whole
            split: exp(-sum_k p_k log p_k), p_k their frequencies; 1 to K.
        val/codebook_usage, test/codebook_usage (fraction, higher): share of the K codes that occur
            in the split.
    """

    higher_is_better = True
    full_state_update = False
    counts: Tensor

    def __init__(self, num_codes: int) -> None:
        super().__init__()
        self.num_codes = num_codes
        zeros = torch.zeros(num_codes, dtype=torch.int64)  # float32 stops counting at 2^24
        self.add_state("counts", default=zeros, dist_reduce_fx="sum")

    def update(self, codes: Tensor) -> None:
        """Count codes of any shape, int64."""
        self.counts += count_codes(codes, self.num_codes).long()

    def compute(self) -> dict[str, Tensor]:
        """``perplexity`` in [1, K] and ``codebook_usage``, the fraction of codes that occurred."""
        used = (self.counts > 0).float().mean()
        return {"perplexity": perplexity(self.counts), "codebook_usage": used}
