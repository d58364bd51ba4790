"""Ranks of embeddings that predict the accuracy of a linear probe without labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab import distributed

EPS = 1e-7  # added to every share
MOST = 25_600  # embeddings that RankMe is of
DELTA = 1e-4  # added to LiDAR's variances within images


def entropy_rank(values: Tensor) -> Tensor:
    """exp(-sum_i p_i log p_i) of p_i = values_i / sum + `EPS`: a scalar, 0 where all are 0.

    Args:
        values: singular values or eigenvalues, none negative, (K,).
    """
    total = values.sum()
    if not total > 0:
        return torch.zeros_like(total)
    return torch.special.entr(values / total + EPS).sum().exp()


def rankme(z: Tensor) -> Tensor:
    """`RankMe` of embeddings (N, D), all of them: a float64 scalar."""
    metric = RankMe(z.shape[1], len(z)).to(z.device)
    metric.update(z)
    return metric.compute()


class RankMe(Metric):
    """RankMe: exponential of the entropy of the embeddings' singular values.

    RankMe(Z) = exp(-sum_i p_i log p_i) with p_i = sigma_i / sum_j sigma_j + 1e-7, sigma_i the
    singular values of Z (N, D) as it is: between 1 and min(N, D). `geometry.effective_rank` is the
    same without 1e-7; `EmbeddingSpread` takes it of embeddings of length one, where a few long ones
    count no more than others. The memory is that of one (D, D) matrix.

    Args:
        dim: width D of the embeddings.
        most: number of embeddings that count: the first, in the order in which loaders deal images
            to the ranks; those of all ranks together.

    Source: Garrido, Balestriero, Najman, LeCun 2023, arXiv:2210.02885, section 3: 25,600 images.
    """

    higher_is_better = True
    full_state_update = False
    gram: Tensor
    count: Tensor

    def __init__(self, dim: int, most: int = MOST) -> None:
        super().__init__()
        self.most = most
        self.add_state("gram", torch.zeros(dim, dim, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, embedding: Tensor) -> None:
        """Add embeddings (B, D)."""
        z = embedding.detach()[: max(0, share_of(self.most) - int(self.count))].double()
        self.gram = self.gram + z.T @ z
        self.count = self.count + len(z)

    def compute(self) -> Tensor:
        """The rank, float64; NaN of embeddings that are not finite."""
        gram = self.gram.cpu()
        if not bool(gram.isfinite().all()):
            return self.gram.new_tensor(math.nan)
        values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
        kept = values[-min(len(values), int(self.count)) :]  # min(N, D) of them
        return entropy_rank(kept).to(self.gram.device)


class LiDAR(Metric):
    """LiDAR: rank of what the views of an image share, by linear discriminant analysis.

    Each of n images is a class with q views. S_b is the covariance of the images' means, S_w the
    mean covariance of the views around their image's mean, plus delta I. LiDAR is exp(-sum_i p_i
    log p_i) with p_i = lambda_i / sum_j lambda_j + 1e-7, lambda_i the eigenvalues of S_w^(-1/2) S_b
    S_w^(-1/2): at most min(D, n - 1). Directions in which views of one image differ as much as
    images do count for little, unlike in RankMe. It depends on n and q, and where views hardly
    differ on delta too: compare equal settings.

    Args:
        dim: width D of the embeddings.
        delta: number added to the variances within images.

    Raises:
        ValueError: a delta that is not positive.

    Source: Thilak et al. 2024, arXiv:2312.04000, section 4: 1,000 images with 50 views.
    Departure: delta is that of stable-pretraining and 1e-7 RankMe's; covariances are unbiased.
    """

    higher_is_better = True
    full_state_update = False
    images: Tensor
    spare: Tensor
    total: Tensor
    between: Tensor
    within: Tensor

    def __init__(self, dim: int, delta: float = DELTA) -> None:
        super().__init__()
        if not delta > 0:
            raise ValueError(f"delta {delta} must be above 0")
        self.delta = delta
        shapes = {"total": (dim,), "between": (dim, dim), "within": (dim, dim)}
        for name, shape in shapes.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("images", "spare"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, embedding: Tensor) -> None:
        """Add embeddings of the views of some images, (B, q, D)."""
        z = embedding.detach().double()
        mean = z.mean(1)
        rest = (z - mean[:, None]).flatten(0, 1)
        self.total = self.total + mean.sum(0)
        self.between = self.between + mean.T @ mean
        self.within = self.within + rest.T @ rest
        self.images = self.images + len(z)
        self.spare = self.spare + len(z) * (z.shape[1] - 1)

    def compute(self) -> Tensor:
        """The rank, float64; NaN of embeddings that are not finite.

        Raises:
            ValueError: fewer than two images, or one view an image.
        """
        n, spare = int(self.images), int(self.spare)
        if n < 2 or not spare:
            raise ValueError(f"LiDAR requires two images with two views, got {n} of {n + spare}")
        mean, within = self.total.cpu() / n, self.within.cpu() / spare
        between = (self.between.cpu() - n * mean.outer(mean)) / (n - 1)
        if not bool((between.isfinite() & within.isfinite()).all()):
            return self.total.new_tensor(math.nan)
        within.diagonal().add_(self.delta)
        half = torch.linalg.cholesky(within)  # S_w = L L^T: L^-1 S_b L^-T has the eigenvalues
        left = torch.linalg.solve_triangular(half, between, upper=False)
        both = torch.linalg.solve_triangular(half, left.T, upper=False)
        values = torch.linalg.eigvalsh((both + both.T) / 2).clamp(min=0)
        return entropy_rank(values).to(self.total.device)


def share_of(count: int) -> int:
    """This rank's part of the first ``count`` images, which loaders deal to the ranks in turn."""
    return len(range(distributed.rank(), count, distributed.world_size()))
