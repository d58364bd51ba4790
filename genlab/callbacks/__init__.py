"""What watches a run without changing its objective."""

from genlab.callbacks.checkpoints import Checkpoints
from genlab.callbacks.csv_log import CSVLog
from genlab.callbacks.pictures import Pictures
from genlab.callbacks.progress import ProgressReport
from genlab.callbacks.reseed import Reseed
from genlab.callbacks.step_metrics import StepMetrics
from genlab.callbacks.tracking import Tracking, WandbRun

__all__ = [
    "CSVLog",
    "Checkpoints",
    "Pictures",
    "ProgressReport",
    "Reseed",
    "StepMetrics",
    "Tracking",
    "WandbRun",
]
