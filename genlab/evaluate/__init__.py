"""From a checkpoint to numbers and files."""

from genlab.evaluate.embed import embed
from genlab.evaluate.features import Judge, of_method, open_judge
from genlab.evaluate.judge import judge
from genlab.evaluate.pictures import interpolations, reconstructions, samples
from genlab.evaluate.representation import representation
from genlab.evaluate.scatter import scatter

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
