"""Image batch in, image batch out: random draws per sample, on the batch's device."""

from genlab.augment.binarize import binarize

__all__ = ["binarize"]
