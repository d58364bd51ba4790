"""Presets of views for each image, named after the papers that chose them."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from genlab.augment.draws import for_images
from genlab.augment.view import STREAM, View
from genlab.contracts import Batch
from genlab.errors import check_names

Options = dict[str, Any]
SOFT = (0.4, 0.4, 0.2, 0.1)  # BYOL's jitter
FIXED = 1 << 10  # first stream of views that do not change
PLAIN: Options = {"jitter": (0.0,) * 4, "grey": 0.0}


def _dino(least: float, most: float, count: int, smallest: float) -> list[Options]:
    """Two large views, blurred and solarised as BYOL's, and small ones of what lies below."""
    wide: Options = {"crop": (least, most), "jitter": SOFT}
    small = {"crop": (smallest, least), "jitter": SOFT, "blur": 0.5, "size": 3 / 7}
    return [wide | {"blur": 1.0}, wide | {"blur": 0.1, "solarise": 0.2}, *(count * [small])]


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
    # solo-learn's for Barlow Twins, NNCLR and DINO on CIFAR: BYOL's without blur
    "byol_cifar": [{"jitter": SOFT}, {"jitter": SOFT, "solarise": 0.2}],
    # solo-learn's for VICReg on CIFAR
    "vicreg_cifar": 2 * [{"crop": (0.2, 1.0), "jitter": SOFT, "solarise": 0.1}],
    # Khosla et al. 2020, arXiv:2004.11362, for CIFAR
    "supcon": 2 * [{"crop": (0.2, 1.0), "jitter": (0.4, 0.4, 0.4, 0.1)}],
    # Caron et al. 2020, arXiv:2006.09882: two large views and six small ones, of SwAV
    "multicrop": [
        *(2 * [{"crop": (0.14, 1.0), "blur": 0.5}]),
        *(6 * [{"crop": (0.05, 0.14), "blur": 0.5, "size": 3 / 7}]),
    ],
    # Caron et al. 2021, arXiv:2104.14294
    "dino": _dino(0.4, 1.0, 8, 0.05),
    # Zhou et al. 2022, arXiv:2111.07832
    "ibot": _dino(0.25, 1.0, 10, 0.05),
    # Oquab et al. 2023, arXiv:2304.07193
    "dinov2": _dino(0.32, 1.0, 8, 0.05),
    # Balestriero, LeCun 2025, arXiv:2511.08544: all views alike but for size and area
    "lejepa": [
        {"jitter": SOFT, "blur": 0.5, "solarise": 0.2} | own
        for own in 2 * [{"crop": (0.3, 1.0)}] + 6 * [{"crop": (0.05, 0.3), "size": 7 / 16}]
    ],
    # Wu et al. 2018, arXiv:1805.01978: one view
    "wu": [{"crop": (0.2, 1.0), "jitter": (0.4,) * 4, "jitter_chance": 1.0}],
    # He et al. 2022, arXiv:2111.06377; Xie et al. 2022, arXiv:2111.09886; Assran et al. 2023,
    # arXiv:2301.08243: one view, a crop alone; bilinear here, bicubic there
    "mae": [{"crop": (0.2, 1.0)} | PLAIN],
    "simmim": [{"crop": (0.67, 1.0)} | PLAIN],
    "ijepa": [{"crop": (0.3, 1.0), "flip": False} | PLAIN],
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

    def fixed(self, batch: Batch, number: int) -> Tensor:
        """A large view of each image, the same in every epoch, batch and process.

        Args:
            batch: ``image`` (B, C, H, W) in [0, 1], and ``index`` (B,).
            number: number of the view, from 0; the large views of training take turns.

        Returns:
            (B, C, h, h) in [0, 1].
        """
        views = [view for view in self.views if isinstance(view, View)]
        sides = [view.side(batch["image"].shape[-1]) for view in views]
        large = [view for view, side in zip(views, sides, strict=True) if side == max(sides)]
        view = large[number % len(large)]
        drawn = for_images(view.draw, batch, training=False, stream=FIXED + number)
        return view.apply_to(batch["image"], drawn)

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
              ``moco_v2``, ``byol``, ``byol_cifar``, ``vicreg_cifar`` or ``supcon``; with small
              views ``multicrop``, ``dino``, ``ibot``, ``dinov2`` or ``lejepa``; of one view ``wu``,
              ``mae``, ``simmim`` or ``ijepa``
            - ``strength`` (1.0): factor of the jitter
            - ``small``: for the small views alone, arguments of `View` and ``count``, their number;
              ``size`` and ``crop`` elsewhere are those of the large views

    Raises:
        ValueError: no such preset or argument.
    """
    if options is None:
        return None
    given: Options = {"preset": options} if isinstance(options, str) else dict(options)
    name, strength = given.pop("preset", "simclr"), float(given.pop("strength", 1.0))
    check_names("views", [name], PRESETS, "preset")
    arguments = list(inspect.signature(View).parameters)
    check_names("views", given, [*arguments, "preset", "strength", "small"])
    own: Options = given.pop("small", None) or {}
    check_names("views.small", own, [*arguments, "count"])
    views = [view | given for view in PRESETS[name] if "size" not in view]
    views += _small(name, given, dict(own))
    return Views([_view(view, strength) for view in views])


def _small(name: str, given: Options, own: Options) -> list[Options]:
    """The small views of a preset, with settings for all views and ``own`` ones."""
    small = [view for view in PRESETS[name] if "size" in view]
    if own and not small:
        raise ValueError(f"views: preset {name} has no small views")
    count = int(own.pop("count", len(small)))
    if count < 0:
        raise ValueError(f"views: small.count must be at least 0, not {count}")
    for_all = {key: value for key, value in given.items() if key not in ("size", "crop")}
    return [view | for_all | own for view in small[:1]] * count


def _view(options: Options, strength: float) -> View:
    jitter = options.get("jitter", inspect.signature(View).parameters["jitter"].default)
    return View(**options | {"jitter": [strength * s for s in jitter]})
