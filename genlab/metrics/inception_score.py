"""Inception score: a classifier's confidence in each sample and diversity over all of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class InceptionScore(Metric):
    """exp(mean KL(p(y|x) || p(y))), of probabilities that stream by; exact for any number of ranks.

    Between 1 and the number of classes. The real images are not used: a generator that
    repeats one good image a class has the best score.

    Args:
        num_classes: K of the classifier.
        splits: parts whose scores are averaged; image i belongs to part i modulo ``splits``.

    Source: Salimans et al. 2016, arXiv:1606.03498; ten parts as in openai/improved-gan.
    Departure: parts by the image's number, not by its place in a list, so that ranks do not matter.
    """

    higher_is_better = True
    full_state_update = False
    total: Tensor  # (S, K)
    negentropy: Tensor  # (S,)
    counts: Tensor  # (S,)

    def __init__(self, num_classes: int, splits: int = 10) -> None:
        super().__init__()
        if splits < 1:
            raise ValueError(f"splits {splits} must be at least 1")
        self.splits = splits
        shapes = {"total": (splits, num_classes), "negentropy": (splits,), "counts": (splits,)}
        for name, shape in shapes.items():
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(self, logits: Tensor, index: Tensor) -> None:
        """Add logits (B, K) of images with numbers (B,)."""
        log_p = logits.detach().double().log_softmax(1)
        p, part = log_p.exp(), index % self.splits
        self.total.index_add_(0, part, p)
        self.negentropy.index_add_(0, part, (p * log_p).sum(1))
        self.counts.index_add_(0, part, torch.ones_like(part, dtype=torch.float64))

    def compute(self) -> dict[str, Tensor]:
        """``inception_score``, the mean over parts, and ``inception_score_sd``, their spread.

        Raises:
            ValueError: a part without images.
        """
        if not bool((self.counts > 0).all()):
            had = int(self.counts.sum())
            raise ValueError(f"an Inception score in {self.splits} parts of {had} images")
        share = self.total / self.counts[:, None]
        kl = self.negentropy / self.counts + torch.special.entr(share).sum(1)
        scores = kl.exp()
        return {
            "inception_score": scores.mean(),
            "inception_score_sd": scores.std(correction=0),
        }
