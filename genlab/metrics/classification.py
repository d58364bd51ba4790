"""Metrics of a classifier, exact over batches and ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

BINS = 2048  # of AUROC's histograms
LOWEST, HIGHEST = -5.2, 3.6  # asinh of the log-odds that a float32 probability can express


def classification_metrics(num_classes: int, split: str = "val") -> MetricCollection:
    """Metrics of a split: ``update(probabilities (B, K), label (B,))``; label -1 is ignored.

    ``accuracy`` (top-1), ``top5`` where there are more than five classes, ``precision``,
    ``recall`` and ``f1`` averaged over the classes, ``ece`` (expected calibration error in 15 bins,
    Guo et al. 2017, arXiv:1706.04599); for the test also ``auroc`` and ``confusion``.

    Args:
        num_classes: K.
        split: ``val`` or ``test``, the prefix of every key.

    Logs:
        val/accuracy, test/accuracy (fraction, higher): share of labelled images whose most probable
            class is right.
        val/top5, test/top5 (fraction, higher): share whose class is among the five most probable;
            of more than five classes.
        val/precision, test/precision (fraction, higher): right / predicted as the class, mean over
            classes.
        val/recall, test/recall (fraction, higher): right / images of the class, mean over classes.
        val/f1, test/f1 (fraction, higher): 2 precision recall / (precision + recall) of each class,
            mean over classes.
        val/ece, test/ece (fraction, lower): expected calibration error: |accuracy - confidence| in
            15 bins of confidence, mean over images.
        test/auroc (fraction, higher): area under the ROC curve of each class against the rest, mean
            over classes; 0.5 by chance.
    """
    plain: dict[str, Any] = {"ignore_index": -1, "validate_args": False}
    macro = plain | {"average": "macro"}
    metrics: dict[str, Metric | MetricCollection] = {
        "accuracy": MulticlassAccuracy(num_classes, average="micro", **plain),
        "precision": MulticlassPrecision(num_classes, **macro),
        "recall": MulticlassRecall(num_classes, **macro),
        "f1": MulticlassF1Score(num_classes, **macro),
        "ece": MulticlassCalibrationError(num_classes, n_bins=15, norm="l1", **plain),
    }
    if num_classes > 5:
        metrics["top5"] = MulticlassAccuracy(num_classes, top_k=5, average="micro", **plain)
    if split == "test":
        metrics["auroc"] = AUROC(num_classes)
        metrics["confusion"] = MulticlassConfusionMatrix(num_classes, **plain)
    shared = ["precision", "recall", "f1"]  # one state for the three
    groups = [shared, *([name] for name in metrics if name not in shared)]
    return MetricCollection(metrics, prefix=f"{split}/", compute_groups=groups)


def per_class(confusion: Tensor) -> dict[str, Tensor]:
    """``images``, ``precision``, ``recall`` and ``f1`` of every class: (K, K) -> 4 x (K,).

    Rows are the true classes. What would be 0 / 0 is 0, as in scikit-learn.

    Logs:
        test/per_class (table): images, precision, recall and F1 of every class; in --json and
            confusion.csv.
    """
    right, true, said = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return {
        "images": true,
        "precision": right / said.clamp(min=1),
        "recall": right / true.clamp(min=1),
        "f1": 2 * right / (true + said).clamp(min=1),
    }


class AUROC(Metric):
    """Area under the ROC curve, each class against the rest, mean over the classes that occur.

    The area is the chance that an image of the class scores above one of another class, ties
    counting half. Scores are counted in `BINS` bins of their log-odds, finest at even odds, so that
    memory is bounded and batches and ranks merge exactly; scores in one bin count as ties.
    torchmetrics keeps every score, or passes over the batch once for every threshold.

    Args:
        num_classes: K.
    """

    higher_is_better = True
    full_state_update = False
    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        zeros = torch.zeros(2, num_classes, BINS, dtype=torch.int64)  # of the rest, of the class
        self.add_state("counts", default=zeros, dist_reduce_fx="sum")

    def update(self, probability: Tensor, label: Tensor) -> None:
        """Count scores: (B, K) in [0, 1], (B,) int64; label -1 counts for nothing."""
        known = label >= 0
        p = probability[known].float()  # (N, K)
        score = (p.clamp(min=1e-38).log() - (1 - p).clamp(min=2.0**-25).log()).asinh()
        bins = ((score - LOWEST) * (BINS / (HIGHEST - LOWEST))).long().clamp(0, BINS - 1)
        classes = torch.arange(self.num_classes, device=label.device)
        own = (label[known][:, None] == classes).long()
        cell = (own * self.num_classes + classes) * BINS + bins
        counted = torch.bincount(cell.flatten(), minlength=self.counts.numel())
        self.counts += counted.view_as(self.counts)

    def compute(self) -> Tensor:
        """The mean area in [0, 1]; NaN where no class has both images and others."""
        rest, own = self.counts.double()
        below = rest.cumsum(1) - rest / 2  # others that score lower, ties half
        pairs = own.sum(1) * rest.sum(1)
        area = (own * below).sum(1)[pairs > 0] / pairs[pairs > 0]
        return area.mean().float()
