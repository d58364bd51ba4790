"""Image batch in, image batch out: random draws per sample, on the batch's device."""

from genlab.augment.binarize import binarize
from genlab.augment.mixing import Mixing
from genlab.augment.standard import Augment, from_options

__all__ = ["Augment", "Mixing", "binarize", "from_options"]
