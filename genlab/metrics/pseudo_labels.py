"""Metrics of pseudo-labels, compared with the true labels where those are known."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class PseudoLabels(Metric):
    """Accuracy and class shares of pseudo-labels; for measurement only.

    ``compute`` gives scalars: ``pseudo_accuracy`` of the images in use, weighted, and
    ``pseudo_accuracy_all`` of all images with a known label (NaN where there are none),
    ``pseudo_entropy``, that of the classes in use over log K (1 when they are alike, 0 in
    collapse), and ``share`` (K,), of the classes in use.

    Args:
        num_classes: K.

    Logs:
        train/pseudo_accuracy (fraction, higher): share of right pseudo-labels among images in use,
            weighted, over an epoch; needs true labels, which training does not use.
        train/pseudo_accuracy_all (fraction, higher): share of right pseudo-labels among all
            unlabelled images with a known class, over an epoch.
        train/pseudo_entropy (fraction, higher): entropy of the classes in use over log K: 1 when
            they are alike, 0 after a collapse.
        train/pseudo_share_<class> (fraction): share of a class, by its number, in the pseudo-labels
            in use, over an epoch; up to 20 classes.
    """

    higher_is_better = True
    full_state_update = False
    said: Tensor
    right: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.add_state("said", torch.zeros(num_classes), dist_reduce_fx="sum")
        # in use: right, known; all: right, known
        self.add_state("right", torch.zeros(4), dist_reduce_fx="sum")

    def update(self, pseudo: Tensor, label: Tensor, weight: Tensor) -> None:
        """Count a batch.

        Args:
            pseudo: (M,) pseudo-label of each image.
            label: (M,) its class, -1 where unknown.
            weight: (M,) in [0, 1], its weight in the loss.
        """
        self.said.index_add_(0, pseudo, weight)
        known, hit = label >= 0, label == pseudo
        every = torch.stack([weight * hit, weight * known, hit, known])
        self.right += every.float().sum(1)

    def compute(self) -> dict[str, Tensor]:
        """See the class."""
        used, known_used, hits, known = self.right
        total = self.said.sum()
        share = self.said / total.clamp(min=1e-12)
        entropy = torch.special.entr(share).sum() / torch.tensor(float(len(share))).log()
        return {
            "pseudo_accuracy": used / known_used,
            "pseudo_accuracy_all": hits / known,
            "pseudo_entropy": entropy,
            "share": share,
        }
