"""Metrics that genlab reports, as torchmetrics or functions of features.

Samples: `frechet`, `frechet_infinity`, `kernel_distances`, `inception_score`, `precision_recall`,
`vendi`, `memorisation`, `transport`; without a network: `pixels`, `spectrum`; their cost:
`network_evaluations`. Features: `bank` (all of a split), `knn`, `one_shot`, `embedding`,
`geometry`, `ranks`. Classifiers: `classification`, `class_report`, `pseudo_labels`. Densities:
`chow_liu` and `ppca` (baselines). Latents and codes: `active_units`, `codebook`,
`disentanglement`. Predicted images: `image_error`; masked places: `masked_error`. `step_metrics`
logs what steps return.
"""

from genlab.metrics.active_units import ActiveUnits
from genlab.metrics.bank import Bank, collect, merge
from genlab.metrics.chow_liu import ChowLiuTree, chow_liu_tree
from genlab.metrics.class_report import ClassReport
from genlab.metrics.classification import AUROC, classification_metrics, per_class
from genlab.metrics.codebook import CodebookUsage, perplexity
from genlab.metrics.disentanglement import dci, importances, mutual_information_gap
from genlab.metrics.embedding import TokenSpread
from genlab.metrics.frechet import FrechetDistance, frechet_distance
from genlab.metrics.frechet_infinity import frechet_infinity
from genlab.metrics.image_error import ImageError
from genlab.metrics.inception_score import InceptionScore
from genlab.metrics.kernel_distances import kernel_distance, polynomial_mmd
from genlab.metrics.knn import KNN, knn_scores
from genlab.metrics.masked_error import MaskedError
from genlab.metrics.memorisation import authentic_share, copying_score
from genlab.metrics.one_shot import one_shot_error
from genlab.metrics.pixels import PixelStatistics, pixel_distances
from genlab.metrics.precision_recall import manifold_overlap, neighbours
from genlab.metrics.ranks import LiDAR, RankMe, rankme
from genlab.metrics.spectrum import high_share, low_pass, radial_power
from genlab.metrics.step_metrics import StepMetrics, log_steps
from genlab.metrics.transport import jensen_shannon, sliced_wasserstein, wasserstein
from genlab.metrics.vendi import vendi_score

__all__ = [
    "AUROC",
    "KNN",
    "ActiveUnits",
    "Bank",
    "ChowLiuTree",
    "ClassReport",
    "CodebookUsage",
    "FrechetDistance",
    "ImageError",
    "InceptionScore",
    "LiDAR",
    "MaskedError",
    "PixelStatistics",
    "RankMe",
    "StepMetrics",
    "TokenSpread",
    "authentic_share",
    "chow_liu_tree",
    "classification_metrics",
    "collect",
    "copying_score",
    "dci",
    "frechet_distance",
    "frechet_infinity",
    "high_share",
    "importances",
    "jensen_shannon",
    "kernel_distance",
    "knn_scores",
    "log_steps",
    "low_pass",
    "manifold_overlap",
    "merge",
    "mutual_information_gap",
    "neighbours",
    "one_shot_error",
    "per_class",
    "perplexity",
    "pixel_distances",
    "polynomial_mmd",
    "radial_power",
    "rankme",
    "sliced_wasserstein",
    "vendi_score",
    "wasserstein",
]
