"""Swap of classes: does the class that is given carry the identity, or do the latents?"""

from __future__ import annotations

from typing import Any

import torch

from genlab.contracts import SwapsStyles
from genlab.evaluation.measured import Measured, images_of

MOST, SHOWN = 1000, 8


@torch.no_grad()
def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Classes that a classifier sees in test images decoded in another class.

    Args:
        method: method with ``swap_styles``.
        data: data module.
        judge: classifier of the same classes.

    Logs:
        test/swap_given (fraction, higher): share of test images, decoded with the latents of the
            image and another class drawn at random, in which ``--judge`` sees that class.
        test/swap_own (fraction): share of them in which it sees the image's own class.
        test/swap_given_low, test/swap_given_high (fraction): ends of Wilson's interval of 95 % of
            swap_given; each image counts once.

    Returns:
        These, and images and swapped ones.

    Raises:
        ValueError: the method swaps no classes, or there is no classifier of them.
    """
    from scipy.stats import binomtest

    able = isinstance(method, SwapsStyles)
    if not able:
        raise ValueError(f"{type(method).__name__} swaps no classes")
    if judge is None or not judge.classes:
        raise ValueError("--measure class_swap requires --judge with a classifier")
    judge = judge.by_name(getattr(data, "classes", ()))
    image, label = images_of(method, data, most=MOST)
    image, label = image[label >= 0], label[label >= 0]
    classes = judge.classes
    shift = torch.randint(1, classes, label.shape, generator=torch.Generator().manual_seed(0))
    given = (label + shift.to(label.device)) % classes
    rows = torch.arange(len(label), device=label.device)
    parts = [
        method.swap_styles(image[some], label[some])[torch.arange(len(some)), given[some]]
        for some in rows.split(100)
    ]
    swapped = torch.cat(parts)
    _, logits = judge(swapped.clamp(0, 1).mul(255).round().byte())
    seen = logits.argmax(1)
    right = int((seen == given.cpu()).sum())
    ends = binomtest(right, len(seen)).proportion_ci(method="wilson")
    found = {
        "swap_given": right / len(seen),
        "swap_own": float((seen == label.cpu()).float().mean()),
        "swap_given_low": float(ends.low),
        "swap_given_high": float(ends.high),
    }
    return Measured(found, {"image": image[:SHOWN], "other class": swapped[:SHOWN]})
