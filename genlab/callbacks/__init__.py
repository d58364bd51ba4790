"""What watches a run without changing its objective."""

from genlab.callbacks.checkpoints import Checkpoints
from genlab.callbacks.collapse import CollapseAlarm
from genlab.callbacks.confusion import ConfusionMatrix
from genlab.callbacks.csv_log import CSVLog
from genlab.callbacks.drop_block import DropBlockSchedule
from genlab.callbacks.ema_weights import EMAWeights
from genlab.callbacks.film import Film
from genlab.callbacks.gradient_norms import GradientNorms
from genlab.callbacks.key_drift import KeyDrift
from genlab.callbacks.last_median import LastMedian
from genlab.callbacks.live_accuracy import LiveAccuracy
from genlab.callbacks.online_knn import OnlineKNN
from genlab.callbacks.online_probe import OnlineProbe
from genlab.callbacks.pictures import Pictures
from genlab.callbacks.plane import Plane
from genlab.callbacks.plane_figures import PlaneFigures
from genlab.callbacks.plateau import ReduceOnPlateau
from genlab.callbacks.progress import ProgressReport
from genlab.callbacks.reseed import Reseed
from genlab.callbacks.similarity_histogram import SimilarityHistogram
from genlab.callbacks.step_metrics import StepMetrics
from genlab.callbacks.sync_batch_norm import SyncBatchNorm
from genlab.callbacks.tracking import Tracking
from genlab.callbacks.view_pictures import ViewPictures
from genlab.callbacks.wandb_run import WandbRun

__all__ = [
    "CSVLog",
    "Checkpoints",
    "CollapseAlarm",
    "ConfusionMatrix",
    "DropBlockSchedule",
    "EMAWeights",
    "Film",
    "GradientNorms",
    "KeyDrift",
    "LastMedian",
    "LiveAccuracy",
    "OnlineKNN",
    "OnlineProbe",
    "Pictures",
    "Plane",
    "PlaneFigures",
    "ProgressReport",
    "ReduceOnPlateau",
    "Reseed",
    "SimilarityHistogram",
    "StepMetrics",
    "SyncBatchNorm",
    "Tracking",
    "ViewPictures",
    "WandbRun",
]
