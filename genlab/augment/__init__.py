"""Image batch in, image batch out: random draws per sample, on the batch's device."""

from genlab.augment.binarization import binarize
from genlab.augment.mixing import Mixing
from genlab.augment.standard import Augment, from_options
from genlab.augment.view import View
from genlab.augment.views import PRESETS, Views, views_from

__all__ = [
    "PRESETS",
    "Augment",
    "Mixing",
    "View",
    "Views",
    "binarize",
    "from_options",
    "views_from",
]
