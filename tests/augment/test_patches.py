"""Patches stand by row, column and channel, and go back where they were."""

from __future__ import annotations

import torch

from genlab.augment.patches import cut, joined


def test_a_patch_is_a_window_with_channels_last() -> None:
    image = torch.rand(2, 3, 8, 12)
    patches = cut(image, (2, 3))
    assert patches.shape == (2, 6, 48)
    window = image[1, :, 4:8, 8:12]
    assert torch.equal(patches[1, 5], window.permute(1, 2, 0).flatten())
    assert torch.equal(joined(patches, (2, 3), 3), image)
