"""Evaluation of a checkpoint: numbers and files. ``genlab.evaluate(run)`` gives the metrics.

Features: `feature_quality` (with `probes`), `embedding`, `scatter_plot`. Samples: `judging` by one
of `judges` (`inception` among them), `by_class`, `neighbours` (copies), `image_grids`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

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


class _Face(ModuleType):
    """This room under the name of what Python users call."""

    def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        """See `genlab.experiments.evaluation.evaluate`."""
        above = import_module("genlab.experiments.evaluation")
        return above.evaluate(*arguments, **options)


sys.modules[__name__].__class__ = _Face
