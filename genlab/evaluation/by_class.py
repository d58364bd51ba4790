"""Class-conditional samples measured by a classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.contracts import SamplesCodes
from genlab.evaluation.judges import Judge, Seen

MOST = 200  # samples of a class whose distances are averaged
CONTROLS = 1000  # samples of each control


def by_class(samples: Seen, real: Seen) -> dict[str, Any]:
    """Accuracy of the samples of each class by a classifier, and their diversity.

    Diversity is the mean distance between two samples of one class in the classifier's features,
    averaged over classes, next to that of real images: a generator that repeats one good image per
    class scores 1 in accuracy and 0 here. Empty if the feature extractor does not classify.

    Args:
        samples: its outputs for the samples; their labels are the requested ones.
        real: its outputs for unseen real images.

    Logs:
        judge/accuracy (fraction, higher): share of samples that the network takes for the requested
            class.
        judge/accuracy_real (fraction, higher): its accuracy on unseen real images.
        judge/accuracy_worst_class (fraction, higher): share of right samples in the class that has
            the fewest.
        judge/worst_class (class): number of that class.
        judge/diversity (distance, higher): mean distance of two samples of a class in the features,
            mean over classes; 0 for one image a class.
        judge/diversity_real (distance): the same of real images.
    """
    if samples.logits is None or real.logits is None:
        return {}
    right, known = samples.logits.argmax(1) == samples.label, real.label >= 0
    classes = samples.label.unique().tolist()
    share = {k: float(right[samples.label == k].float().mean()) for k in classes}
    worst = min(share, key=lambda k: share[k])
    right_real = real.logits.argmax(1) == real.label
    return {
        "accuracy": float(right.float().mean()),
        "accuracy_worst_class": share[worst],
        "worst_class": worst,
        "accuracy_real": float(right_real[known].float().mean()),
        "diversity": _diversity(samples, classes),
        "diversity_real": _diversity(real, classes),
    }


def code_controls(method: Any, judge: Judge, label: Tensor) -> dict[str, float]:
    """Accuracy of two controls made of a code prior's own samples; empty for other methods.

    The first are independent codes (all codes of all samples shuffled), the second codes that keep
    their class and place but not their relations (shuffled between the samples of a class, place by
    place).

    Args:
        method: method with ``sample_codes(n, label=...)``.
        judge: a classifier.
        label: requested classes (N,), of which 1,000 are drawn again.

    Logs:
        judge/accuracy_independent_codes (fraction): accuracy of samples whose codes are shuffled
            over all places and samples.
        judge/accuracy_given_class_and_place (fraction): accuracy of samples whose codes are
            shuffled between samples of a class, place by place.
    """
    able = isinstance(method, SamplesCodes)
    if not able:
        return {}
    label = label[:CONTROLS]
    codes = method.sample_codes(len(label), label=label).cpu()
    free = codes.flatten()[torch.randperm(codes.numel())].view_as(codes)
    controls = {"independent_codes": free, "given_class_and_place": _shuffle_places(codes, label)}
    found = {}
    for name, mixed in controls.items():
        parts = [
            judge(method.decode(part.to(method.device)).mul(255).round().byte())[1]
            for part in mixed.split(256)
        ]
        guess = torch.cat([part.argmax(1) for part in parts if part is not None])
        found[f"accuracy_{name}"] = float((guess == label).float().mean())
    return found


def _shuffle_places(codes: Tensor, label: Tensor) -> Tensor:
    """Permute every place of the grid between the samples of one class: (N, h, w) -> (N, h, w)."""
    mixed = codes.clone()
    for k in label.unique():
        rows = torch.nonzero(label == k)[:, 0]
        flat = codes[rows].flatten(1)
        order = torch.rand(flat.shape).argsort(0)
        mixed[rows] = flat.gather(0, order).reshape(codes[rows].shape)
    return mixed


def _diversity(seen: Seen, classes: list[int]) -> float:
    """Mean feature distance between two images of a class, over at most `MOST` of each class."""
    rows = [seen.features[seen.label == k][:MOST] for k in classes]
    means = [torch.nn.functional.pdist(part).mean() for part in rows if len(part) > 1]
    return float(torch.stack(means).mean()) if means else float("nan")
