"""Accuracy of a classifier under FGSM and PGD, and the spectrum of what FGSM changes."""

from __future__ import annotations

from typing import Any

import torch

from genlab.evaluation.attacks import fgsm, gradient_sign, pgd
from genlab.evaluation.measured import Measured, accuracy, labelled
from genlab.metrics.spectrum import high_share

EPSILONS = (4, 8, 16, 32)  # levels of 255
MOST, BATCH, SHOWN = 1000, 250, 8


def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Accuracy of attacked test images; shares of high frequencies in attacks and images.

    Args:
        method: classifier.
        data: data module.
        judge: None; it is not used.

    Logs:
        test/fgsm_<n>_accuracy (fraction, higher): accuracy of test images that FGSM has changed by
            up to n / 255 in every pixel; of 1,000 images at most.
        test/pgd_<n>_accuracy (fraction, higher): the same by ten steps of PGD from a random start.
        test/fgsm_high (fraction): share of the power of FGSM's change, without its mean, at
            frequencies above half the highest, mean over images.
        test/images_high (fraction): that share of the images themselves.

    Returns:
        These, and images, their changes, and changed images.
    """
    image, label = labelled(method, data, most=MOST)
    found: dict[str, Any] = {}
    for levels in EPSILONS:
        for name, attack in (("fgsm", fgsm), ("pgd", pgd)):
            parts = [
                attack(method.logits, x, y, levels / 255)
                for x, y in zip(image.split(BATCH), label.split(BATCH), strict=True)
            ]
            found[f"{name}_{levels}_accuracy"] = accuracy(method, torch.cat(parts), label)
    change = torch.cat([
        gradient_sign(method.logits, x, y)
        for x, y in zip(image.split(BATCH), label.split(BATCH), strict=True)
    ])  # fmt: skip
    found["fgsm_high"] = float(high_share(change).nanmean())
    found["images_high"] = float(high_share(image).nanmean())
    few, largest = image[:SHOWN], EPSILONS[-1] / 255
    shown = {
        "image": few,
        "FGSM, sign": change[:SHOWN] / 2 + 0.5,
        f"FGSM, {EPSILONS[-1]} / 255": (few + largest * change[:SHOWN]).clamp(0, 1),
    }
    return Measured(found, shown)
