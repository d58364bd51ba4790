"""Accuracy of a classifier on low-passed and high-passed images."""

from __future__ import annotations

from typing import Any

from genlab.evaluation.measured import Measured, accuracy, labelled
from genlab.metrics.spectrum import low_pass

CUTS = (25, 50, 75)  # per cent of the highest frequency, half a cycle a pixel
SHOWN = 8


def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Accuracy of test images of whose spectrum a part is left.

    Args:
        method: classifier.
        data: data module.
        judge: None; it is not used.

    Logs:
        test/low_<n>_accuracy (fraction, higher): accuracy of test images without frequencies above
            n per cent of the highest; of 2,000 at most, not clipped to [0, 1].
        test/high_<n>_accuracy (fraction, higher): accuracy of images of these frequencies and the
            mean alone.

    Returns:
        These, and images, low-passed and high-passed ones.
    """
    image, label = labelled(method, data)
    mean = image.mean((-2, -1), keepdim=True)
    found, shown = dict[str, Any](), {"image": image[:SHOWN]}
    for cut in CUTS:
        low = low_pass(image, cut / 200)
        high = image - low + mean
        found[f"low_{cut}_accuracy"] = accuracy(method, low, label)
        found[f"high_{cut}_accuracy"] = accuracy(method, high, label)
        shown[f"below {cut} %"] = low[:SHOWN].clamp(0, 1)
        shown[f"above {cut} %"] = high[:SHOWN].clamp(0, 1)
    return Measured(found, shown)
