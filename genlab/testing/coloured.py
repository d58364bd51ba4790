"""Small coloured images for methods that have no use for grey digits of 8 px."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.data.digits import Digits
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source


class ColouredDigits(Digits):
    """Digits enlarged to 16 px, in the colour of their class on a dark one; made, not real."""

    channels, image_size = 3, 16

    def sources(self) -> dict[str, Source]:
        """The digits' training and test images."""
        return {split: _coloured(source) for split, source in super().sources().items()}


def _coloured(source: Source) -> Pictures:
    assert isinstance(source, Pictures)
    grey = source.images.float().div(255).repeat_interleave(2, 2).repeat_interleave(2, 3)
    turn = source.labels[:, None].float() * 0.6 + torch.tensor([0.0, 2.1, 4.2])  # (N, 3)
    ink, paper = (_channels(0.5 + 0.5 * angle.cos()) for angle in (turn, turn + 2.0))
    image = grey * ink + (1 - grey) * 0.4 * paper
    return Pictures(image.mul(255).round().byte(), source.labels, source.index)


def _channels(colour: Tensor) -> Tensor:
    return colour[:, :, None, None]
