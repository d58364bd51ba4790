"""Columns of images of several sizes under their titles."""

from __future__ import annotations

import numpy as np
import torch

from genlab.drawing.columns import FRAME, OTHER, OUTLINE, SAME, titled
from genlab.drawing.text import LINE


def test_small_images_are_enlarged_by_a_whole_factor_and_centred() -> None:
    found = titled({"whole": torch.ones(2, 1, 8, 8), "part": torch.zeros(2, 3, 8, 5)})
    assert found.shape == (14 + 2 * 98 + 2, 2 * 98 + 2, 3)
    assert (found[16 : 16 + 96, 2:98] == 255).all()
    part = found[16 : 16 + 96, 100:196, 0]
    assert (part[:, :18] == 191).all()  # 60 of 96 pixels are the image
    assert (part[:, 18:78] == 0).all()
    assert (part[:, 78:] == 191).all()


def test_wrong_answers_have_another_frame_and_titles_wrap() -> None:
    images = {"input": torch.ones(2, 1, 8, 8), "output": torch.zeros(2, 1, 8, 8)}
    answers = [("left", "left"), ("left", "right")]
    one, found = titled(images, "a", answers), titled(images, "word " * 20, answers)
    assert found.shape[0] - one.shape[0] == 2 * LINE
    tile = 96 + 2 * FRAME + 2
    for row, colour in enumerate((SAME, OTHER)):
        top, left = 2 * LINE + row * (tile + LINE) + 2, tile + 2
        assert (one[top : top + FRAME, left : left + 96] == colour).all()
        assert (one[top + FRAME : top + FRAME + 96, left + FRAME : left + FRAME + 96] == 0).all()
        words = one[top + 96 + 2 * FRAME : top + 96 + 2 * FRAME + LINE, left : left + 96]
        assert (words < 128).any()


def test_boxes_are_outlined_outside_of_what_they_hold() -> None:
    images = {"input": torch.zeros(1, 1, 8, 8), "output": torch.zeros(1, 1, 8, 8)}
    found = titled(images, boxes=torch.tensor([[2, 3, 4, 5]]))[LINE + 2 :]
    assert (found[:, :98] != OUTLINE).any(-1).all()
    there = np.argwhere((found[:96, 100:196] == OUTLINE).all(-1))
    assert there.min(0).tolist() == [23, 35]
    assert there.max(0).tolist() == [72, 95]  # the image's edge
    assert (found[24:72, 100 + 36 : 196 - 1] == 0).all()
