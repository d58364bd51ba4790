"""One random view of each image: what self-supervised learning is invariant to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genlab.augment.boxes import crop_boxes
from genlab.augment.colour import draw_jitter, jitter, solarise
from genlab.augment.draws import Params, Shape, coin, for_this_rank, uniform
from genlab.augment.linear import blur, resized_crop

STREAM = 16  # of the batch's seed; view k draws from stream 16 + k


class View(nn.Module):
    """Random resized crop and flip, colour jitter, greyscale, blur, solarisation; in this order.

    Args:
        size: side of the view, a whole number of pixels, or a float as a share of the image's.
        crop: ``[smallest, largest]`` share of the image's area.
        flip: left-right, half of the images.
        jitter: strength of brightness, contrast, saturation, hue.
        jitter_chance: of that jitter, per image.
        grey: chance of greyscale.
        blur: chance of a Gaussian blur with a kernel a tenth of the view's side.
        sigma: of that blur, pixels, uniform.
        solarise: chance of inverting what is brighter than one half.

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
        self.size, self.crop, self.flip = size, tuple(crop), flip
        self.jitter, self.jitter_chance, self.grey = tuple(jitter), jitter_chance, grey
        self.blur, self.sigma, self.solarise = blur, tuple(sigma), solarise

    @torch.no_grad()
    def forward(self, image: Tensor, seed: int, stream: int = STREAM) -> Tensor:
        """A view of this process's share of a batch.

        Args:
            image: (B, C, H, W) float in [0, 1].
            seed: of the batch, equal on all ranks.
            stream: independent draws from one seed.

        Returns:
            (B, C, size, size) in [0, 1].
        """
        return self.apply_to(image, for_this_rank(self.draw, image, seed, stream=stream))

    def draw(self, shape: Shape, generator: torch.Generator) -> Params:
        """What happens to each of N images (N, C, H, W), nothing of it done yet."""
        n = shape[0]
        drawn = {"crop": crop_boxes(shape, self.crop, generator)}
        drawn["flip"] = coin(n, 0.5 if self.flip else 0.0, generator)
        drawn |= draw_jitter(n, self.jitter, self.jitter_chance, self.grey, generator)
        drawn["blur"] = coin(n, self.blur, generator)
        drawn["sigma"] = uniform(n, self.sigma[0], self.sigma[1], generator)
        drawn["solarise"] = coin(n, self.solarise, generator)
        return drawn

    def apply_to(self, image: Tensor, drawn: Params) -> Tensor:
        """Do to the images (N, C, H, W) what was drawn for them."""
        side = self.size if isinstance(self.size, int) else round(self.size * image.shape[-1])
        view = resized_crop(image, drawn["crop"], drawn["flip"], max(1, side))
        if (self.jitter_chance and any(self.jitter)) or self.grey:
            view = jitter(view, drawn["factor"], drawn["order"], drawn["grey"])
        if self.blur:
            view = _blur_some(view, drawn["blur"], drawn["sigma"])
        if self.solarise:
            view = solarise(view, drawn["solarise"])
        return view


def _blur_some(image: Tensor, chosen: Tensor, sigma: Tensor) -> Tensor:
    """A Gaussian blur of the images ``chosen`` (N,) bool; on an accelerator all are computed."""
    reach = max(1, image.shape[-1] // 10 // 2)
    if image.device.type == "cpu":
        rows = chosen.nonzero()[:, 0]
        return (
            image.index_copy_(0, rows, blur(image[rows], sigma[rows], reach))
            if len(rows)
            else image
        )
    return torch.where(chosen[:, None, None, None], blur(image, sigma, reach), image)
