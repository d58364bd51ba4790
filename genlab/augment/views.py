"""Presets of views for each image, named after the papers that chose them."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from genlab.augment.view import STREAM, View
from genlab.errors import check_names

Options = dict[str, Any]
PRESETS: dict[str, list[Options]] = {
    # Chen et al. 2020, arXiv:2002.05709; colour strength 1
    "simclr": 2 * [{"blur": 0.5}],
    # the same paper, appendix B.9, for CIFAR-10: colour strength 0.5, no blur
    "simclr_cifar": 2 * [{"jitter": (0.4, 0.4, 0.4, 0.1)}],
    # He et al. 2020, arXiv:1911.05722; greyscale here follows the jitter, there it precedes it
    "moco_v1": 2 * [{"crop": (0.2, 1.0), "jitter": (0.4,) * 4, "jitter_chance": 1.0}],
    # Chen et al. 2020, arXiv:2003.04297; also SimSiam's
    "moco_v2": 2 * [{"crop": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1), "blur": 0.5}],
    # Grill et al. 2020, arXiv:2006.07733; also MoCo v3's
    "byol": [
        {"jitter": (0.4, 0.4, 0.2, 0.1), "blur": 1.0},
        {"jitter": (0.4, 0.4, 0.2, 0.1), "blur": 0.1, "solarise": 0.2},
    ],
    # Caron et al. 2020, arXiv:2006.09882: two large views and six small ones
    "multicrop": 2 * [{"crop": (0.14, 1.0), "blur": 0.5}]
    + 6 * [{"crop": (0.05, 0.14), "blur": 0.5, "size": 3 / 7}],
}


class Views(nn.Module):
    """Several independent views of each image.

    Args:
        views: settings of each view.
    """

    def __init__(self, views: list[View]) -> None:
        super().__init__()
        self.views = nn.ModuleList(views)

    def __len__(self) -> int:
        return len(self.views)

    def crops(self, image_size: int) -> list[tuple[int, tuple[float, float]]]:
        """Side in pixels and smallest and largest area of each view's random crop."""
        views = (view for view in self.views if isinstance(view, View))
        return [(view.side(image_size), view.crop) for view in views]

    def forward(self, image: Tensor | list[Tensor], seed: int) -> list[Tensor]:
        """Images in [0, 1], or their crops -> one (B, C, h, w) a view; see `View`.

        Args:
            image: (B, C, H, W); or one (B, C, h, w) a view, cropped already.
            seed: batch seed, equal on all ranks.
        """
        cut = isinstance(image, list)
        images = image if cut else [image] * len(self)
        return [
            view(one, seed, STREAM + k, cut)
            for k, (view, one) in enumerate(zip(self.views, images, strict=True))
        ]


def views_from(options: str | Options | None) -> Views | None:
    """The views requested by a recipe's ``views:``; None if there are none.

    Args:
        options: a preset, or a mapping with arguments of `View`, which all views take instead of
            the preset's own, and

            - ``preset`` (simclr): a name of `PRESETS`: ``simclr``, ``simclr_cifar``, ``moco_v1``,
              ``moco_v2``, ``byol`` or ``multicrop``
            - ``strength`` (1.0): factor of the jitter

    Raises:
        ValueError: no such preset or argument.
    """
    if options is None:
        return None
    given = {"preset": options} if isinstance(options, str) else dict(options)
    name, strength = given.pop("preset", "simclr"), float(given.pop("strength", 1.0))
    check_names("views", [name], PRESETS, "preset")
    check_names("views", given, [*inspect.signature(View).parameters, "preset", "strength"])
    return Views([_view(preset | given, strength) for preset in PRESETS[name]])


def _view(options: Options, strength: float) -> View:
    jitter = options.get("jitter", inspect.signature(View).parameters["jitter"].default)
    return View(**options | {"jitter": [strength * s for s in jitter]})
