"""scikit-learn's digits: real, small, without a download."""

from __future__ import annotations

import torch

from genlab.data import splits
from genlab.data.images import Images
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source

TEST_SIZE = 300


class Digits(Images):
    """1,797 handwritten digits, 8 x 8 in 17 levels; 300 of them, always the same, are test.

    ``val_size: 200`` leaves 1,297 for training. ``index`` counts in scikit-learn's order.

    Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits", test part.
    """

    channels, num_classes, image_size = 1, 10, 8
    classes = tuple("0123456789")

    def sources(self) -> dict[str, Source]:
        """Training and test images, split from scikit-learn's only set."""
        from sklearn.datasets import load_digits

        levels, labels = load_digits(return_X_y=True)
        grey = torch.from_numpy(levels).mul(255 / 16).round().to(torch.uint8)
        every = Pictures(grey.view(-1, 1, 8, 8), torch.from_numpy(labels))
        train, test = splits.carve(labels, TEST_SIZE, seed=0)
        return {
            "train": every.subset(torch.from_numpy(train)),
            "test": every.subset(torch.from_numpy(test)),
        }
