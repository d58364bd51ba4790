"""Callbacks that a recipe may name; they watch a run and never change its objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genlab import faces

if TYPE_CHECKING:  # for type checkers; the files are the list
    from genlab.callbacks.collapse_alarm import CollapseAlarm as CollapseAlarm
    from genlab.callbacks.confusion_matrix import ConfusionMatrix as ConfusionMatrix
    from genlab.callbacks.denominator_drift import DenominatorDrift as DenominatorDrift
    from genlab.callbacks.drop_block_schedule import DropBlockSchedule as DropBlockSchedule
    from genlab.callbacks.ema_weights import EMAWeights as EMAWeights
    from genlab.callbacks.embedding_ranks import EmbeddingRanks as EmbeddingRanks
    from genlab.callbacks.film import Film as Film
    from genlab.callbacks.gradient_norms import GradientNorms as GradientNorms
    from genlab.callbacks.key_drift import KeyDrift as KeyDrift
    from genlab.callbacks.last_median import LastMedian as LastMedian
    from genlab.callbacks.live_accuracy import LiveAccuracy as LiveAccuracy
    from genlab.callbacks.loss_against_probe import LossAgainstProbe as LossAgainstProbe
    from genlab.callbacks.one_shot import OneShot as OneShot
    from genlab.callbacks.online_knn import OnlineKNN as OnlineKNN
    from genlab.callbacks.online_probe import OnlineProbe as OnlineProbe
    from genlab.callbacks.pictures import Pictures as Pictures
    from genlab.callbacks.plane_metrics import PlaneMetrics as PlaneMetrics
    from genlab.callbacks.plane_pictures import PlanePictures as PlanePictures
    from genlab.callbacks.reduce_on_plateau import ReduceOnPlateau as ReduceOnPlateau
    from genlab.callbacks.retrieval_pictures import RetrievalPictures as RetrievalPictures
    from genlab.callbacks.similarity_histogram import SimilarityHistogram as SimilarityHistogram
    from genlab.callbacks.step_norms import StepNorms as StepNorms
    from genlab.callbacks.task_pictures import TaskPictures as TaskPictures
    from genlab.callbacks.token_pictures import TokenPictures as TokenPictures
    from genlab.callbacks.view_pictures import ViewPictures as ViewPictures


def __getattr__(name: str) -> Any:
    return faces.member(__name__, name)


def __dir__() -> list[str]:
    return faces.names(__name__)
