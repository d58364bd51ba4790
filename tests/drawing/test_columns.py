"""Columns of images of several sizes under their titles."""

from __future__ import annotations

import torch

from genlab.drawing.columns import titled


def test_small_images_are_enlarged_by_a_whole_factor_and_centred() -> None:
    found = titled({"whole": torch.ones(2, 1, 8, 8), "part": torch.zeros(2, 3, 8, 5)})
    assert found.shape == (14 + 2 * 98 + 2, 2 * 98 + 2, 3)
    assert (found[16 : 16 + 96, 2:98] == 255).all()
    part = found[16 : 16 + 96, 100:196, 0]
    assert (part[:, :18] == 191).all()  # 60 of 96 pixels are the image
    assert (part[:, 18:78] == 0).all()
    assert (part[:, 78:] == 191).all()
