"""torchmetrics of what the lab reports."""

from genlab.metrics.active_units import ActiveUnits
from genlab.metrics.bank import Bank, collect, merge
from genlab.metrics.classification import AUROC, classification_metrics, per_class
from genlab.metrics.codebook import CodebookUsage, perplexity
from genlab.metrics.knn import KNN, knn_scores

__all__ = [
    "AUROC",
    "KNN",
    "ActiveUnits",
    "Bank",
    "CodebookUsage",
    "classification_metrics",
    "collect",
    "knn_scores",
    "merge",
    "per_class",
    "perplexity",
]
