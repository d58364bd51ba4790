"""Spread of embeddings on the sphere, and similarities between views: detectors of collapse."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from genlab.metrics.geometry import rank_of_gram


@torch.no_grad()
def similarities(z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
    """Similarities of a training step: three scalars on the device, at the cost of a few sums.

    Args:
        z1: embeddings or predictions of one view, (B, D).
        z2: embeddings of the other view, (B, D).

    Logs:
        train/positive_similarity (cosine, higher): mean cosine between the embeddings of an image's
            two views.
        train/negative_similarity (cosine, lower): mean cosine between the views of different
            images; near 0 when they spread, 1 after a collapse.
        train/embedding_std (length, higher): standard deviation over this process's batch of
            embeddings of length one, mean over dimensions: 1 / sqrt(D) at best, 0 after a collapse.

    Returns:
        ``positive_similarity``: mean cosine of an image's two; ``negative_similarity``: of two
        different images'; ``embedding_std``: standard deviation of z2 of length one over this
        process's batch, mean over dimensions: 1 / sqrt(D) at best, 0 after a collapse.
    """
    a, b = F.normalize(z1.float(), dim=1), F.normalize(z2.float(), dim=1)
    n = len(a)
    same = (a * b).sum()
    return {
        "positive_similarity": same / n,
        "negative_similarity": (a.sum(0) @ b.sum(0) - same) / (n * max(1, n - 1)),
        "embedding_std": b.std(0, correction=0).mean(),
    }


@torch.no_grad()
def moments(z: Tensor) -> dict[str, Tensor]:
    """Place and scale of embeddings, which similarities do not show.

    Args:
        z: embeddings as they are, (B, D).

    Logs:
        train/embedding_mean (1, lower): length of the mean embedding of this process's batch,
            divided by sqrt(D); 0 for the standard normal.
        train/embedding_variance (1, target 1): variance over this process's batch, mean over
            components; 1 for the standard normal, 0 after a collapse.
    """
    full = z.float()
    variance = full.var(0, correction=0).mean()
    return {
        "embedding_mean": full.mean(0).square().mean().sqrt(),
        "embedding_variance": variance,
    }


class EmbeddingSpread(Metric):
    """Standard deviation and effective rank of embeddings of length one, over a whole split.

    Of all ranks together; the memory is that of one (D, D) matrix, whatever the number of images.

    Args:
        dim: D.
    """

    higher_is_better = True
    full_state_update = False
    gram: Tensor
    total: Tensor
    count: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        for name, shape in {"gram": (dim, dim), "total": (dim,), "count": ()}.items():
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(self, embedding: Tensor) -> None:
        """Add embeddings (B, D)."""
        z = F.normalize(embedding.detach().double(), dim=1)
        self.gram = self.gram + z.T @ z
        self.total = self.total + z.sum(0)
        self.count = self.count + len(z)

    def compute(self) -> dict[str, Tensor]:
        """``embedding_std``, see `similarities`, and ``effective_rank`` in [1, D].

        The rank is that of `geometry.effective_rank`.
        """
        mean = self.total / self.count
        variance = self.gram.diagonal() / self.count - mean.square()
        rank = rank_of_gram(self.gram.cpu()).to(self.gram.device)
        return {"embedding_std": variance.clamp(min=0).sqrt().mean(), "effective_rank": rank}


class TokenSpread(Metric):
    """Standard deviation over the images of a split of their tokens at one place, of all ranks.

    See `losses.spread_over_images`. A sum is kept for each place and component.

    Args:
        places: N tokens of an image.
        dim: D.
    """

    higher_is_better = True
    full_state_update = False
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, places: int, dim: int) -> None:
        super().__init__()
        for name, shape in {"total": (places, dim), "squares": (), "count": ()}.items():
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")

    def update(self, tokens: Tensor) -> None:
        """Add tokens (B, N, D), which are standardised over their components first."""
        tokens = F.layer_norm(tokens.detach().double(), tokens.shape[-1:])
        self.total = self.total + tokens.sum(0)
        self.squares = self.squares + tokens.square().sum()
        self.count = self.count + len(tokens)

    def compute(self) -> Tensor:
        """Root of the variance's mean over places and components, a scalar."""
        mean = self.total / self.count
        variance = self.squares / self.count / mean.numel() - mean.square().mean()
        return variance.clamp(min=0).sqrt()
