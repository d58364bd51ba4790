"""Evaluation of a checkpoint: numbers and files.

Features: `feature_quality` (with `probes`), `embedding`, `scatter_plot`. Samples: `judging` by one
of `judges` (`inception` among them), `by_class`, `neighbours` (copies), `image_grids`.
"""

from genlab.evaluate.embedding import embed
from genlab.evaluate.feature_quality import representation
from genlab.evaluate.image_grids import interpolations, reconstructions, samples
from genlab.evaluate.judges import Judge, of_method, open_judge
from genlab.evaluate.judging import judge
from genlab.evaluate.scatter_plot import scatter

__all__ = [
    "Judge",
    "embed",
    "interpolations",
    "judge",
    "of_method",
    "open_judge",
    "reconstructions",
    "representation",
    "samples",
    "scatter",
]
