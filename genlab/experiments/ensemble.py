"""Several classifiers as one: the mean of their probabilities on the same test images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genlab.contracts import Classifies, HasProbabilities
from genlab.errors import RecipeError
from genlab.metrics import classification_metrics
from genlab.training.building import Lab
from genlab.training.opened import open_run
from genlab.training.record import finite

SMALLEST = 1e-12  # probability in a logarithm


def ensemble(runs: Sequence[str], overrides: Sequence[str] = ()) -> tuple[Path, dict[str, Any]]:
    """Metrics of an ensemble of runs on their test images.

    Args:
        runs: runs or checkpoints of classifiers, two at least, such as one a seed.
        overrides: ``key=value`` settings over the runs' recipes.

    Returns:
        The first checkpoint, and metrics; see `averaged`.

    Raises:
        InputError: a run is missing or does not classify, or its test images are not the others'.
    """
    if len(runs) < 2:
        raise RecipeError(f"--ensemble requires at least two runs, got {len(runs)}")
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    opened = []
    for name in runs:
        lab, file = open_run([name], list(overrides))
        found.append(_probabilities(lab, name))
        opened.append(file)
        first, last = found[0], found[-1]
        if opened.count(file) > 1:
            raise RecipeError(f"{name} is named twice")
        if first[0].shape[1] != last[0].shape[1] or not _same(first[1:], last[1:]):
            raise RecipeError(f"{name} has other test images or classes than {runs[0]}")
    metrics = averaged([one[0] for one in found], found[0][2])
    return opened[0], {key: finite(value) for key, value in metrics.items()}


def averaged(probabilities: Sequence[Tensor], label: Tensor) -> dict[str, float]:
    """Metrics of the mean of several classifiers' probabilities, with those of one of them.

    Args:
        probabilities: class probabilities of each classifier, (N, K) each.
        label: classes (N,); -1 counts for nothing.

    Logs:
        ensemble/accuracy (fraction, higher): share of test images whose class is the most probable
            one by the mean of the members' probabilities.
        ensemble/loss (nats, lower): -log of the mean probability of the class, mean over images.
        ensemble/ece (fraction, lower): expected calibration error of the mean probabilities, as
            test/ece.
        ensemble/member_accuracy (fraction, higher): mean of the members' own accuracies.
        ensemble/member_loss (nats, lower): mean of their own losses, never below ensemble/loss.
        ensemble/disagreement (fraction): share of images of which two members take another class
            for the most probable, mean over pairs.
        ensemble/members (classifiers): number of members.

    Source: Lakshminarayanan, Pritzel, Blundell 2016, arXiv:1612.01474.
    """
    known = label >= 0
    label, members = label[known], torch.stack([one[known].double() for one in probabilities])
    mean = members.mean(0)
    metric = classification_metrics(mean.shape[1], "val")
    metric.update(mean.float(), label)
    guesses = members.argmax(2)  # (M, N)
    pairs = [(one != other).double().mean() for one, other in combinations(guesses, 2)]
    return {
        "ensemble/accuracy": float((mean.argmax(1) == label).double().mean()),
        "ensemble/loss": _loss(mean, label),
        "ensemble/ece": float(metric.compute()["val/ece"]),
        "ensemble/member_accuracy": float((guesses == label).double().mean()),
        "ensemble/member_loss": sum(_loss(one, label) for one in members) / len(members),
        "ensemble/disagreement": float(torch.stack(pairs).mean()) if pairs else 0.0,
        "ensemble/members": float(len(members)),
    }


def _loss(probability: Tensor, label: Tensor) -> float:
    right = probability.gather(1, label[:, None]).clamp_min(SMALLEST)
    return float(-right.log().mean())


@torch.no_grad()
def _probabilities(lab: Lab, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Class probabilities, positions and labels of a run's test images, on the CPU."""
    data: Any = lab.data
    model: Any = lab.model.eval().to(lab.trainer.strategy.root_device)
    if not isinstance(model, Classifies):
        kind = type(lab.model).__name__
        raise RecipeError(f"{name}: {kind} does not classify; --ensemble requires classifiers")
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for raw in data.bank_dataloader("test"):
        batch = data.to_device(raw, lab.model.device)
        logits = model.logits(batch["image"]).float()
        if isinstance(model, HasProbabilities):
            probability = model.probabilities(logits)
        else:
            probability = logits.softmax(1)
        probability = probability / probability.sum(1, keepdim=True)  # of one sigmoid a class
        parts.append((probability.cpu(), batch["index"].cpu(), batch["label"].cpu()))
    if not parts:
        raise RecipeError(f"{name} has no test images")
    whole, index, label = (torch.cat(column) for column in zip(*parts, strict=True))
    if not bool((label >= 0).any()):
        raise RecipeError(f"no test image of {name} has a label")
    return whole, index, label


def _same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
