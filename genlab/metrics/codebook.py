"""Usage of a codebook."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab.networks.autoencoders.quantizer import stage_counts
from genlab.networks.autoencoders.scalar_quantizers import to_digits


def entropies(counts: Tensor) -> Tensor:
    """Entropies of frequencies in nats: (..., K) -> (...)."""
    p = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    return torch.special.entr(p).sum(-1)


def perplexity(counts: Tensor) -> Tensor:
    """Effective number of codes: exp(mean entropy of each stage); (Q, K) or (K,) -> scalar."""
    return entropies(counts).mean().exp()


class CodebookUsage(Metric):
    """Perplexity and fraction of codes used, over all batches and all ranks of an epoch.

    The perplexity of a batch depends on the batch's size; that of an epoch is what to report.

    Args:
        num_codes: K.
        stages: Q, codes of a place.
        levels: levels of the numbers that make up a code, if it has any.

    Logs:
        val/perplexity, test/perplexity (codes, higher): effective number of codes in the whole
            split: exp(-sum_k p_k log p_k), p_k their frequencies; 1 to K. Of several stages the
            geometric mean.
        val/codebook_usage, test/codebook_usage (fraction, higher): share of the K codes that occur
            in the split; mean over stages.
        val/level_entropy_<number>, test/level_entropy_<number> (fraction, higher): entropy of one
            number of a code (``fsq``, ``lfq``), or of one stage, over that of uniform use; 0 for a
            dead one.
    """

    higher_is_better = True
    full_state_update = False
    counts: Tensor

    def __init__(self, num_codes: int, stages: int = 1, levels: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.num_codes, self.stages, self.levels = num_codes, stages, levels
        zeros = torch.zeros(stages, num_codes, dtype=torch.int64)  # float32 stops counting at 2^24
        self.add_state("counts", default=zeros, dist_reduce_fx="sum")

    def update(self, codes: Tensor) -> None:
        """Count codes (B, h, w Q), int64; of one stage any shape."""
        self.counts += stage_counts(codes, self.num_codes, self.stages).long()

    def compute(self) -> dict[str, Tensor]:
        """``perplexity`` in [1, K], ``codebook_usage`` in [0, 1], and entropies of the levels."""
        used = (self.counts > 0).float().mean()
        found = {"perplexity": perplexity(self.counts), "codebook_usage": used}
        return found | {f"level_entropy_{i}": e for i, e in enumerate(self._by_level(), 1)}

    def _by_level(self) -> list[Tensor]:
        """Entropy of each level, or of each of several stages, over that of uniform use."""
        if self.stages > 1:
            return list(entropies(self.counts) / math.log(self.num_codes))
        every = torch.arange(self.num_codes, device=self.counts.device)
        digits = to_digits(every, self.levels).unbind(-1) if self.levels else ()  # d x (K,)
        return [
            entropies(self.counts.new_zeros(n).index_add_(0, digit, self.counts[0])) / math.log(n)
            for n, digit in zip(self.levels, digits, strict=True)
        ]
