"""Classifiers on fixed features: a linear probe and few-shot class means."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from genlab.data import splits
from genlab.metrics import Bank

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # of the penalty, per image
MOST, MOST_CHOOSING = 50_000, 5_000  # images that train the probe, and that choose its strength


def linear_probe(train: Bank, val: Bank | None, test: Bank, seed: int = 0) -> dict[str, float]:
    """Top-1 on the test features of a softmax regression on standardised training features.

    The penalty's strength is chosen on validation features; where there are none, on a tenth of
    the training features. L-BFGS, at most 100 steps of it, so no learning rate has to be chosen.

    Args:
        train: labelled features.
        val: features that choose the strength.
        test: features that are evaluated.
        seed: seed of the choice of images, if there are more than are used.

    Logs:
        test/linear_top1 (fraction, higher): accuracy of a softmax regression on the training
            features, L2 penalty chosen on validation data.
        test/linear_strength (setting): the penalty's strength per image that was chosen.
        test/linear_images (images): training images of the probe.

    Returns:
        ``linear_top1``, and the ``linear_strength`` and ``linear_images`` it comes from.

    Source: the protocol of Kornblith, Shlens, Le 2019, arXiv:1805.08974, appendix A.3.
    Departure: five strengths on a logarithmic grid instead of 45, and at most 50,000 images.
    """
    if val is None or not len(val.label):
        stay, held = splits.carve(train.label.numpy(), max(1, len(train.label) // 10), seed)
        train, val = _rows(train, stay), _rows(train, held)
    mean, std = train.features.mean(0), train.features.std(0).clamp(min=1e-6)
    scaled = [
        part._replace(features=(part.features - mean) / std)
        for part in (_some(train, MOST, seed), val, test)
    ]
    fewer = _some(scaled[0], MOST_CHOOSING, seed)
    top1 = {strength: _top1(fewer, scaled[1], strength) for strength in STRENGTHS}
    best = max(STRENGTHS, key=lambda strength: top1[strength])
    return {
        "linear_top1": _top1(scaled[0], scaled[2], best),
        "linear_strength": best,
        "linear_images": len(scaled[0].label),
    }


def fixed_probe(
    train: Bank, test: Bank, labels: float, strength: float, draws: int = 20, seed: int = 0
) -> float:
    """Top-1 of a softmax regression on standardised features, of a penalty that nothing chooses.

    Mean and deviation of the features come from all training images, no label is needed for them.

    Args:
        train: features, of whose images some have labels.
        test: features that are evaluated.
        labels: share of the training images that have labels, up to 1, or their number.
        strength: L2 penalty per image.
        draws: draws of the labelled images, classes in proportion; the result is the mean.
        seed: seed of the first draw; the next ones follow it.

    Raises:
        ValueError: fewer than two labels, or more than images.
    """
    count = round(labels * len(train.label)) if labels <= 1 else int(labels)
    if not 2 <= count <= len(train.label):
        raise ValueError(f"labels {labels} must be 2 to {len(train.label)} images")
    mean, std = train.features.mean(0), train.features.std(0).clamp(min=1e-6)
    train, test = (one._replace(features=(one.features - mean) / std) for one in (train, test))
    if count == len(train.label):
        return _top1(_some(train, MOST, seed), test, strength)
    few = (_some(train, count, seed + draw) for draw in range(draws))
    return sum(_top1(one, test, strength) for one in few) / draws


def few_shot(
    train: Bank, test: Bank, shots: Sequence[int], draws: int = 20, seed: int = 0
) -> dict[str, float]:
    """Top-1 of the nearest class mean of n labelled images a class, over several draws of them.

    Features are centred by the mean of the training features (no label needed) and scaled to
    length one, before and not after the means are taken.

    Args:
        train: the labelled images to draw from.
        test: the images to classify.
        shots: numbers n of labels per class.
        draws: number of draws of n.
        seed: seed of the draws.

    Logs:
        test/fewshot_<n>_top1 (fraction, higher): accuracy of the nearest mean of n labelled images
            a class, mean over draws.
        test/fewshot_<n>_sd (fraction): standard deviation of that accuracy over draws; absent
            where all draws are the same.
        test/fewshot_draws (draws): number of draws of n.

    Returns:
        ``fewshot_<n>_top1``, the mean over draws, and ``fewshot_<n>_sd``, their spread.

    Raises:
        ValueError: a class has fewer images than n.

    Source: Wang, Chao, Weinberger, van der Maaten 2019 (SimpleShot), arXiv:1911.04623, CL2N.
    Departure: all classes of the data set take part, not five at a time.
    """
    generator = np.random.default_rng(seed)
    centre = train.features.mean(0)
    bank, query = (F.normalize(part.features - centre, dim=1) for part in (train, test))
    classes, sizes = train.label.unique(return_counts=True)
    found: dict[str, float] = {"fewshot_draws": draws}
    for n in shots:
        if not 1 <= n <= int(sizes.min()):
            raise ValueError(f"shots {n} must be 1 to {int(sizes.min())}, the smallest class")
        right = []
        for _ in range(draws):
            means = [
                bank[generator.choice(np.flatnonzero(train.label == k), n, replace=False)].mean(0)
                for k in classes
            ]
            guess = classes[torch.cdist(query, torch.stack(means)).argmin(1)]
            right.append(float((guess == test.label).float().mean()))
        found[f"fewshot_{n}_top1"] = float(np.mean(right))
        if draws > 1 and n < int(sizes.min()):  # else there is one draw, or one of each class
            found[f"fewshot_{n}_sd"] = float(np.std(right, ddof=1))
    return found


def _rows(bank: Bank, rows: np.ndarray | Tensor) -> Bank:
    return Bank(*(part[rows] for part in bank))


def _some(bank: Bank, most: int, seed: int) -> Bank:
    """At most ``most`` rows, classes in proportion."""
    if len(bank.label) <= most:
        return bank
    return _rows(bank, splits.carve(bank.label.numpy(), most, seed)[1])


def _top1(train: Bank, test: Bank, strength: float) -> float:
    model = LogisticRegression(C=1 / (strength * len(train.label)), max_iter=100, tol=1e-3)
    with warnings.catch_warnings():  # stopped after 100 iterations: early stopping is no harm
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train.features.numpy(), train.label.numpy())
    return float(model.score(test.features.numpy(), test.label.numpy()))
