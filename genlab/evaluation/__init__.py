"""Evaluation of a checkpoint: numbers and files. ``genlab.evaluate(run)`` gives the metrics.

Features: `feature_quality` (with `probes`, `embedding_ranks` and `disentanglement`), of an inner
layer by `places`; `one_shot`, `embedding`, `scatter_plot`, `retrieval`. Samples: `judging` by one
of `judges` (`published`: `inception`, `dinov2`): their `distances`, `path_length`, `by_class`,
`neighbours` (copies); `image_grids`. Further `measurements` give what `measured` holds, some by
`attacks`.
"""

from genlab.evaluation.embedding import embed
from genlab.evaluation.feature_quality import representation
from genlab.evaluation.image_grids import interpolations, reconstructions, samples
from genlab.evaluation.judges import Judge, of_method, open_judge
from genlab.evaluation.judging import judge
from genlab.evaluation.scatter_plot import scatter

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
