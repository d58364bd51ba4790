"""Moving averages of the features of each class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genlab import distributed
from genlab.losses.numbers import precise


class ClassMeans(nn.Module):
    """Mean features of each class over recent batches, of all processes together.

    Sums of features and counts of images are averaged alike, and the mean is their quotient: it is
    right from the first batch on, and a class that a batch lacks keeps its mean.

    Args:
        num_classes: K.
        width: F of the features.
        decay: fraction of the sums that a batch leaves in place, in [0, 1).

    Raises:
        ValueError: decay outside [0, 1).
    """

    sums: Tensor

    def __init__(self, num_classes: int, width: int, decay: float = 0.9) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.register_buffer("sums", torch.zeros(num_classes, width + 1))

    @property
    def mean(self) -> Tensor:
        """(K, F); zero for a class that was never seen."""
        return self.sums[:, :-1] / self.sums[:, -1:].clamp(min=1e-12)

    @torch.no_grad()
    def update(self, found: Tensor) -> None:
        """Move the averages by a batch's `class_sums`, those of this process."""
        found = distributed.all_reduce_sum(found) / distributed.world_size()
        self.sums.lerp_(found.to(self.sums.dtype), 1 - self.decay)


@torch.no_grad()
def class_sums(h: Tensor, label: Tensor, num_classes: int) -> Tensor:
    """Features summed by class, and a column of counts, over the number of images, in float32.

    Parts of a batch add up, weighted by their sizes.

    Args:
        h: features, (B, F).
        label: classes, (B,).
        num_classes: K.

    Returns:
        (K, F + 1), float32 at least.
    """
    h = precise(h)
    member = (label[:, None] == torch.arange(num_classes, device=h.device)).to(h.dtype)  # (B, K)
    with torch.autocast(h.device.type, enabled=False):  # else the product is rounded
        return member.T @ torch.cat([h, torch.ones_like(h[:, :1])], 1) / len(h)


def mean_gap(real: ClassMeans, fake: ClassMeans, h: Tensor, label: Tensor) -> Tensor:
    """Half the squared distance of the classes' means, of each image's class: (B, F), (B,) -> (B,).

    The value is that of the moving averages; each image's features have the gradient that they
    would have as their class's mean. Classes that one average has not seen have 0. In float32 at
    least: the difference of two near means has few digits.
    """
    h = precise(h)
    mean_real, mean_fake = real.mean[label].to(h.dtype), fake.mean[label].to(h.dtype)
    seen = (real.sums[label, -1] > 0) & (fake.sums[label, -1] > 0)
    gap = mean_real - (mean_fake + h - h.detach())
    return gap.square().sum(1) / 2 * seen
