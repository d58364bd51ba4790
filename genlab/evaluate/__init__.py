"""From a checkpoint to numbers and files."""

from genlab.evaluate.embed import embed
from genlab.evaluate.judge import judge
from genlab.evaluate.pictures import interpolations, reconstructions, samples

__all__ = ["embed", "interpolations", "judge", "reconstructions", "samples"]
