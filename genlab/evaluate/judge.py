"""A classifier's opinion of class-conditional samples."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def judge(method: Any, classifier: Any, data: Any, samples: int, seed: int = 0) -> dict[str, Any]:
    """How often samples of a class are taken for that class, and how varied they are.

    Diversity is the mean distance between two samples of one class in the classifier's features,
    averaged over classes, beside the same figure of the real test images: a generator that repeats
    one good image per class scores 1 in accuracy and 0 here. For a prior over codes, the accuracy
    of two controls made of its own samples: codes drawn independently of everything (all codes of
    all samples shuffled), and codes that keep their class and place but nothing of one another
    (shuffled between the samples of a class, place by place).

    Args:
        method: draws ``sample(n, label=...)``.
        classifier: trained on real images only; has ``logits`` and ``forward``.
        data: gives the real test images.
        samples: how many in all, equally many of each class.
        seed: of the draws.

    Raises:
        ValueError: the method is not class-conditional, or its images do not fit the classifier.
    """
    classes = int(getattr(method, "num_classes", 0) or 0)
    if not classes or not hasattr(method, "sample"):
        raise ValueError(f"{type(method).__name__} does not sample by class; nothing to judge")
    torch.manual_seed(seed)
    label = torch.arange(classes).repeat_interleave(-(-samples // classes))
    controls: dict[str, Tensor] = {}
    if hasattr(method, "sample_codes"):
        codes = method.sample_codes(len(label), label=label)
        images = _decode(method, codes)
        free = codes.flatten()[torch.randperm(codes.numel())].view_as(codes)
        controls["independent_codes"] = _decode(method, free)
        controls["given_class_and_place"] = _decode(method, _shuffle_places(codes, label))
    else:
        images = method.sample(len(label), label=label)
    real, real_label = _test_images(data)
    if images.shape[1:] != real.shape[1:]:
        raise ValueError(
            f"samples are {tuple(images.shape[1:])}, the judge's data {tuple(real.shape[1:])}"
        )
    right = _right(classifier, images, label)
    per_class = [float(right[label == k].float().mean()) for k in range(classes)]
    figures = {
        "judge/accuracy": float(right.float().mean()),
        "judge/accuracy_worst_class": min(per_class),
        "judge/worst_class": int(torch.tensor(per_class).argmin()),
        "judge/accuracy_real": float(_right(classifier, real, real_label).float().mean()),
        "judge/diversity": _diversity(classifier, images, label, classes),
        "judge/diversity_real": _diversity(classifier, real, real_label, classes),
        "judge/samples": len(label),
    }
    for name, pictures in controls.items():
        right = _right(classifier, pictures, label)
        figures[f"judge/accuracy_{name}"] = float(right.float().mean())
    return figures


def _decode(method: Any, codes: Tensor) -> Tensor:
    return torch.cat([method.tokenizer.decode(part) for part in codes.split(256)])


def _shuffle_places(codes: Tensor, label: Tensor) -> Tensor:
    """Permute every place of the grid between the samples of one class: (N, h, w) -> (N, h, w)."""
    mixed = codes.clone()
    for k in label.unique():
        rows = torch.nonzero(label == k)[:, 0]
        flat = codes[rows].flatten(1)
        order = torch.rand(flat.shape).argsort(0)
        mixed[rows] = flat.gather(0, order).reshape(codes[rows].shape)
    return mixed


def _test_images(data: Any) -> tuple[Tensor, Tensor]:
    batches = [data.to_device(raw) for raw in data.bank_dataloader("test")]
    return torch.cat([b["image"] for b in batches]), torch.cat([b["label"] for b in batches])


def _right(classifier: Any, images: Tensor, label: Tensor) -> Tensor:
    guesses = [classifier.logits(part).argmax(1) for part in images.split(512)]
    return torch.cat(guesses) == label


def _diversity(
    classifier: Any, images: Tensor, label: Tensor, classes: int, most: int = 200
) -> float:
    """Mean feature distance between two images of a class, from at most ``most`` of each class."""
    distances = []
    for k in range(classes):
        features = classifier(images[label == k][:most])
        if len(features) > 1:
            distances.append(torch.nn.functional.pdist(features).mean())
    return float(torch.stack(distances).mean())
