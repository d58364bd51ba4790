"""Augmentation of image batches, with random draws per sample on the batch's device.

`views` turns a batch into views, each made by `view`; `pairs` hands two of them to a method.
`masks` and `multi_block` choose `patches` to hide. `standard` is supervised training's,
`rand_augment` and `ct_augment` (operations in `ops`, `ct_ops`) the strong ones, `mixing` mixup and
CutMix, `differentiable` that of a GAN's critic, `binarization` black and white, `pretext` the
transforms of pretext tasks. Building blocks:
`boxes` (rectangles), `colour`, `lab`, `geometry`, `linear` (resampling), `warping` (maps and bends
of drawings), and `draws`, seeded alike on every rank.
"""

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
