"""Standard augmentation of supervised training, batched: one draw per image."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.augment import geometry
from genlab.augment.boxes import crop_boxes, erase_boxes, inside, square_boxes
from genlab.augment.colour import grey_weights, on_colour
from genlab.augment.draws import Params, Shape, coin, for_this_rank, uniform
from genlab.errors import check_names

STREAM = 1  # of the batch's seed; see `draws.generator`
LIMITS = {
    "translate": 4096, "rotate": 180, "scale": 0.99, "shear": 80, "erase": 1, "cutout": 4096,
    "brightness": 10, "contrast": 10,
}  # fmt: skip


class Augment(nn.Module):
    """Flips, translations, rotations, crops, brightness, erasing; everything is off by default.

    In this order: flip; translate; crop, shear, scale and rotate in one bilinear resampling;
    brightness; contrast; erase; cutout. Flips and translations alone copy pixels, never mix them.
    Of four channels brightness and contrast change the first three.

    Args:
        flip: left-right, half of the images.
        translate: whole pixels, uniform in -translate ... translate, both ways (the usual random
            crop of a padded image).
        rotate: degrees, uniform in -rotate ... rotate.
        scale: factor uniform in 1 - scale ... 1 + scale.
        shear: degrees along x, uniform in -shear ... shear.
        crop: ``[smallest, largest]`` share of the image's area, enlarged to its size; see
            `boxes.crop_boxes`.
        erase: chance of random erasing; see `boxes.erase_boxes`.
        cutout: side in pixels of a square erased in every image; see `boxes.square_boxes`.
        brightness: factor uniform in max(0, 1 - brightness) ... 1 + brightness.
        contrast: likewise, about the image's mean grey.
        padding: beyond the borders, ``reflect`` or ``zeros``.
        fill: content of what is erased: a grey value in [0, 1], or ``noise``, uniform per pixel.

    Raises:
        ValueError: a value out of range.

    Sources: torchvision's RandomCrop, RandomAffine, RandomResizedCrop, ColorJitter and
    RandomErasing, with the same distributions and values within rounding.
    Departures: contrast always follows brightness; noise is uniform, not normal, because images
    are in [0, 1] here; a crop that is turned too shows what lies beyond its edges.
    """

    def __init__(
        self,
        flip: bool = False,
        translate: int = 0,
        rotate: float = 0.0,
        scale: float = 0.0,
        shear: float = 0.0,
        crop: Sequence[float] | None = None,
        erase: float = 0.0,
        cutout: int = 0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        padding: str = "reflect",
        fill: float | str = 0.0,
    ) -> None:
        super().__init__()
        self.flip, self.translate, self.padding = flip, translate, padding
        self.rotate, self.scale, self.shear, self.crop = rotate, scale, shear, crop
        self.erase, self.cutout, self.fill = erase, cutout, fill
        self.brightness, self.contrast = brightness, contrast
        _check(self)

    @torch.no_grad()
    def forward(self, image: Tensor, seed: int) -> Tensor:
        """Augment this process's share of a batch.

        Args:
            image: (B, C, H, W) float in [0, 1].
            seed: batch seed, equal on all ranks.

        Returns:
            Same shape, in [0, 1]; the argument is left as it is.
        """
        return self.apply_to(image, for_this_rank(self.draw, image, seed, stream=STREAM))

    def draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """Parameters drawn for each of N images (N, C, H, W), to be applied later."""
        n, drawn = shape[0], {}
        if self.flip:
            drawn["flip"] = coin(n, 0.5, generator)
        if self.translate:
            span = (-self.translate, self.translate + 1)
            drawn["shift"] = (
                uniform((n, 2), *span, generator).floor().long().clamp_(max=span[1] - 1)
            )
        if self.rotate or self.scale or self.shear:
            drawn["angle"] = uniform(n, -self.rotate, self.rotate, generator)
            drawn["scale"] = uniform(n, 1 - self.scale, 1 + self.scale, generator)
            drawn["shear"] = uniform(n, -self.shear, self.shear, generator)
        if self.crop:
            drawn["crop"] = crop_boxes(shape, self.crop, generator)
        for name, most in (("brightness", self.brightness), ("contrast", self.contrast)):
            if most:
                drawn[name] = uniform(n, max(0.0, 1 - most), 1 + most, generator)
        if self.erase:
            drawn["erase"] = erase_boxes(shape, self.erase, generator)
        if self.cutout:
            drawn["cutout"] = square_boxes(shape, self.cutout, generator)
        if self.fill == "noise" and (self.erase or self.cutout):
            drawn["noise"] = uniform(shape, 0.0, 1.0, generator)
        return drawn

    def apply_to(self, image: Tensor, drawn: Params) -> Tensor:
        """Apply the parameters drawn for the images (N, C, H, W)."""
        if "flip" in drawn:
            image = geometry.flip(image, drawn["flip"])
        if "shift" in drawn:
            image = geometry.translate(image, drawn["shift"], self.translate, self.padding)
        if "crop" in drawn or "angle" in drawn:
            theta = _map(drawn, *image.shape[2:])
            edges = None if "angle" in drawn else drawn["crop"]
            image = geometry.resample(image, theta, self.padding, edges)
        if "brightness" in drawn:
            image = on_colour(_brightness, image, drawn["brightness"])
        if "contrast" in drawn:
            image = on_colour(_contrast, image, drawn["contrast"])
        fill = drawn.get("noise", self.fill)
        for name in ("erase", "cutout"):
            if name in drawn:
                gone = inside(drawn[name], *image.shape[2:])
                image = torch.where(gone, fill, image)  # type: ignore[arg-type]
        return image

    def extra_repr(self) -> str:
        """The switches that are on."""
        names = inspect.signature(Augment).parameters
        given = {n: getattr(self, n) for n, p in names.items() if getattr(self, n) != p.default}
        return ", ".join(f"{name}={value}" for name, value in given.items())


def from_options(options: dict[str, Any] | None) -> Augment | None:
    """The augmentation requested by a recipe's ``augment:``; None if there is none.

    Raises:
        ValueError: an unknown switch, or a value out of range.
    """
    check_names("augment", options or {}, inspect.signature(Augment).parameters, "switch")
    return Augment(**options) if options else None


def _map(drawn: Params, height: int, width: int) -> Tensor:
    """Crop and affine map combined, (N, 2, 3) from output to input."""
    if "angle" in drawn:
        theta = geometry.affine(drawn["angle"], drawn["scale"], drawn["shear"], width / height)
    else:
        box = drawn["crop"]
        theta = torch.eye(2, 3, device=box.device).expand(len(box), 2, 3)
    return geometry.into_box(theta, drawn["crop"], height, width) if "crop" in drawn else theta


def _brightness(image: Tensor, factor: Tensor) -> Tensor:
    return (image * factor[:, None, None, None]).clamp_(0, 1)


def _contrast(image: Tensor, factor: Tensor) -> Tensor:
    """Scale the distance from each image's mean grey by ``factor`` (N,)."""
    mean = image.mean((2, 3)) @ grey_weights(image.shape[1], image.device)  # (N,)
    pivot = (mean * (1 - factor))[:, None, None, None]
    return (image * factor[:, None, None, None] + pivot).clamp_(0, 1)


def _check(augment: Augment) -> None:
    if not isinstance(augment.flip, bool):
        raise ValueError(f"augment: flip must be true or false, not {augment.flip!r}")
    for name, most in LIMITS.items():
        value, whole = getattr(augment, name), name in ("translate", "cutout")
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value <= most:
            number = "a whole number" if whole else "a number"
            raise ValueError(f"augment: {name} must be {number} in 0 ... {most}, not {value!r}")
    crop, padding, fill = augment.crop, augment.padding, augment.fill
    pair = isinstance(crop, list | tuple) and len(crop) == 2
    if crop is not None and not (pair and 0 < crop[0] <= crop[1] <= 1):
        raise ValueError(f"augment: crop must be [smallest, largest] area in 0 ... 1, not {crop!r}")
    if padding not in geometry.PADDING:
        raise ValueError(f"augment: padding must be reflect or zeros, not {padding!r}")
    if fill != "noise" and not (isinstance(fill, int | float) and 0 <= fill <= 1):
        raise ValueError(f"augment: fill must be a number in 0 ... 1 or noise, not {fill!r}")
