"""Report of a classifier's evaluation, as one part of a method."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MetricCollection, SumMetric

from genlab.metrics.classification import classification_metrics, per_class


class ClassReport(nn.Module):
    """Cross entropy and `classification_metrics` of a whole split, exact over batches and ranks.

    Args:
        num_classes: K.

    Logs:
        val/loss, test/loss (nats, lower): cross entropy -log p(class | image), mean over the
            labelled images of the split, whatever the training loss.

    Attributes:
        confusion: confusion matrix of the last test, (K, K) on the CPU, rows are the true classes;
            None before it.
        batch: probabilities (B, K) and labels (B,) of the last batch of a test; None outside one.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.nll = SumMetric(nan_strategy="disable")
        self.known = SumMetric(nan_strategy="disable")  # MeanMetric would ignore these weights
        self.val = classification_metrics(num_classes, "val")
        self.test = classification_metrics(num_classes, "test")
        self.confusion: Tensor | None = None
        self.batch: tuple[Tensor, Tensor] | None = None

    def update(
        self, split: str, logits: Tensor, label: Tensor, probabilities: Tensor | None = None
    ) -> None:
        """Count a batch; label -1 counts for nothing.

        Args:
            split: ``val`` or ``test``.
            logits: scores before softmax (B, K).
            label: classes (B,).
            probabilities: class probabilities (B, K), where they are not the softmax.
        """
        logits = logits.float()
        found = logits.softmax(1) if probabilities is None else probabilities
        self._of(split).update(found, label)
        self.batch = (found.detach(), label) if split == "test" else None
        nll = F.cross_entropy(logits, label, ignore_index=-1, reduction="none")  # (B,)
        self.nll.update(nll)
        self.known.update((label >= 0).float())

    def compute(self, split: str) -> dict[str, Tensor]:
        """The metrics of a split over all ranks as ``<split>/<name>``, ``loss`` in nats; resets."""
        metrics = self._of(split)
        loss = self.nll.compute() / self.known.compute().clamp(min=1)
        values = metrics.compute() | {f"{split}/loss": loss}
        if f"{split}/confusion" in values:
            self.confusion = values.pop(f"{split}/confusion").cpu()
        self.batch = None
        for used in (metrics, self.nll, self.known):
            used.reset()
        return values

    def per_class(self) -> dict[str, list[float]]:
        """Images, precision, recall and F1 of every class in the last test; empty before it."""
        if self.confusion is None:
            return {}
        return {name: value.tolist() for name, value in per_class(self.confusion).items()}

    def _of(self, split: str) -> MetricCollection:
        return self.test if split == "test" else self.val


def class_report_of(method: nn.Module) -> ClassReport | None:
    """The part of a method that reports on classes, if it has one."""
    return next((part for part in method.children() if isinstance(part, ClassReport)), None)
