"""What watches a run without changing its objective."""

from genlab.callbacks.collapse_alarm import CollapseAlarm
from genlab.callbacks.confusion_matrix import ConfusionMatrix
from genlab.callbacks.drop_block_schedule import DropBlockSchedule
from genlab.callbacks.ema_weights import EMAWeights
from genlab.callbacks.film import Film
from genlab.callbacks.gradient_norms import GradientNorms
from genlab.callbacks.key_drift import KeyDrift
from genlab.callbacks.last_median import LastMedian
from genlab.callbacks.live_accuracy import LiveAccuracy
from genlab.callbacks.online_knn import OnlineKNN
from genlab.callbacks.online_probe import OnlineProbe
from genlab.callbacks.pictures import Pictures
from genlab.callbacks.plane_metrics import PlaneMetrics
from genlab.callbacks.plane_pictures import PlanePictures
from genlab.callbacks.reduce_on_plateau import ReduceOnPlateau
from genlab.callbacks.similarity_histogram import SimilarityHistogram
from genlab.callbacks.view_pictures import ViewPictures

__all__ = [
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
    "PlaneMetrics",
    "PlanePictures",
    "ReduceOnPlateau",
    "SimilarityHistogram",
    "ViewPictures",
]
