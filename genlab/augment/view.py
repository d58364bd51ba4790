"""Random views of images, the transformations to which self-supervised features are invariant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.augment.boxes import crop_boxes
from genlab.augment.colour import HUE, colour_of, draw_jitter, jitter, on_some, solarise
from genlab.augment.draws import Params, Shape, coin, for_this_rank, uniform
from genlab.augment.geometry import flip
from genlab.augment.linear import blur, resized_crop
from genlab.augment.warping import warp, warp_from
from genlab.internals import torch_parts

STREAM = 16  # of the batch's seed; view k draws from stream 16 + k
CACHE = 2**20  # numbers that a CPU works on at a time: 4 MB


class View(nn.Module):
    """Random resized crop, flip, warp, colour jitter, greyscale, blur, solarisation; in this order.

    Of four channels jitter, greyscale and solarisation change the first three.

    Args:
        size: side of the view, a whole number of pixels, or a float as a share of the image's.
        crop: ``[smallest, largest]`` share of the image's area.
        flip: left-right, half of the images.
        jitter: strength of brightness, contrast, saturation, hue.
        jitter_chance: probability of jitter, per image.
        grey: probability of greyscale.
        blur: chance of a Gaussian blur with a kernel a tenth of the view's side.
        sigma: smallest and largest standard deviation of the blur in pixels; uniform.
        solarise: chance of inverting what is brighter than one half.
        warp: random map and bend of drawings, black beyond their edges: arguments of
            `warping.Warp` (``rotate``, ``scale``, ``stretch``, ``shear``, ``shift``, ``bend``);
            None for none.

    Raises:
        ValueError: a value out of range.

    Sources: Chen et al. 2020, arXiv:2002.05709, appendix A; Grill et al. 2020, arXiv:2006.07733,
    appendix B. Distributions and values are those of torchvision's transforms of these names.
    Departure: the kernel of the blur has at least 3 pixels.
    """

    def __init__(
        self,
        size: int | float = 1.0,
        crop: Sequence[float] = (0.08, 1.0),
        flip: bool = True,
        jitter: Sequence[float] = (0.8, 0.8, 0.8, 0.2),
        jitter_chance: float = 0.8,
        grey: float = 0.2,
        blur: float = 0.0,
        sigma: Sequence[float] = (0.1, 2.0),
        solarise: float = 0.0,
        warp: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        chances = {"jitter_chance": jitter_chance, "grey": grey, "blur": blur, "solarise": solarise}
        for name, chance in chances.items():
            if not 0 <= chance <= 1:
                raise ValueError(f"views: {name} must be a chance in 0 ... 1, not {chance}")
        if not (len(crop) == 2 and 0 < crop[0] <= crop[1] <= 1):
            raise ValueError(f"views: crop must be [smallest, largest] area in 0 ... 1, not {crop}")
        if len(jitter) != 4 or min(jitter) < 0 or jitter[3] > 0.5:
            raise ValueError(f"views: jitter must be 4 strengths, hue up to 0.5, not {jitter}")
        if not (size >= 1 and isinstance(size, int)) and not 0 < size <= 1:
            raise ValueError(f"views: size must be pixels, or a share in 0 ... 1, not {size}")
        self.warp = warp_from(warp)
        self.size, self.crop, self.flip = size, (crop[0], crop[1]), flip
        self.jitter, self.jitter_chance, self.grey = tuple(jitter), jitter_chance, grey
        self.blur, self.sigma, self.solarise = blur, tuple(sigma), solarise

    @torch.no_grad()
    def forward(self, image: Tensor, seed: int, stream: int = STREAM, cut: bool = False) -> Tensor:
        """A view of this process's share of a batch.

        Args:
            image: (B, C, H, W) float in [0, 1].
            seed: batch seed, equal on all ranks.
            stream: independent draws from one seed.
            cut: True if the images are random crops already, of the view's size.

        Returns:
            (B, C, size, size) in [0, 1], but for less than 1e-6 by the rounding of a blur.
        """
        drawn = for_this_rank(self.draw, image, seed, stream=stream)
        if cut:
            del drawn["crop"]
        return self.apply_to(image, drawn)

    def side(self, image_size: int) -> int:
        """Side in pixels of the view of an image of a given side."""
        side = self.size if isinstance(self.size, int) else round(self.size * image_size)
        return max(1, side)

    def draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """Parameters drawn for each of N images (N, C, H, W), to be applied later."""
        n = shape[0]
        drawn = {"crop": crop_boxes(shape, self.crop, generator)}
        drawn["flip"] = coin(n, 0.5 if self.flip else 0.0, generator)
        drawn |= draw_jitter(n, self.jitter, self.jitter_chance, self.grey, generator)
        drawn["blur"] = coin(n, self.blur, generator)
        drawn["sigma"] = uniform(n, self.sigma[0], self.sigma[1], generator)
        drawn["solarise"] = coin(n, self.solarise, generator)
        if self.warp:  # last: draws of other views stay what they were
            drawn |= self.warp.draw(n, generator)
        return drawn

    def apply_to(self, image: Tensor, drawn: Params) -> Tensor:
        """Apply the parameters drawn for the images (N, C, H, W).

        On a CPU a few images at a time, so that intermediate results stay in its cache, and those
        that are alike together, so that none is moved for another's hue. The values are the same.
        """
        side = self.side(image.shape[-1]) if "crop" in drawn else image.shape[-1]
        if not torch_parts.on_host(image):
            return self._see(image, drawn, side)
        most = max(1, CACHE // (image.shape[1] * max(*image.shape[2:], side) ** 2))
        order = _alike(drawn)
        if most >= len(image):
            return self._see(*_some(image, drawn, order), side).index_select(0, order.argsort())
        views = image.new_empty(len(image), image.shape[1], side, side)
        for rows in order.tensor_split(-(-len(image) // most)):
            done = self._see(*_some(image, drawn, rows), side)
            torch_parts.foreach_copy_([views[row] for row in rows.tolist()], list(done.unbind()))
        return views

    def _see(self, image: Tensor, drawn: Params, side: int) -> Tensor:
        if "crop" in drawn:
            view = resized_crop(image, drawn["crop"], drawn["flip"], side).clamp_(0, 1)
        else:
            view = flip(image, drawn["flip"])
        if self.warp:
            view = warp(view, drawn)
        if (self.jitter_chance and any(self.jitter)) or self.grey:
            jitter(colour_of(view), drawn["factor"], drawn["order"], drawn["grey"])  # in place
        if self.blur:
            reach = max(1, side // 10 // 2)
            view = on_some(view, drawn["blur"], lambda x, s: blur(x, s, reach), drawn["sigma"])
        if self.solarise:
            solarise(colour_of(view), drawn["solarise"])
        return view


def _alike(drawn: Params) -> Tensor:
    """Order of the images: by the step of their hue, then by blur."""
    step = (drawn["order"] == HUE).long().argmax(1)
    step.masked_fill_(drawn["factor"][:, HUE] == 0, 4)
    return (2 * step + drawn["blur"]).argsort(stable=True)


def _some(image: Tensor, drawn: Params, rows: Tensor) -> tuple[Tensor, Params]:
    some = {name: value.index_select(0, rows) for name, value in drawn.items()}
    return image.index_select(0, rows), some
