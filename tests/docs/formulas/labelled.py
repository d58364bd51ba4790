"""Classifiers, probes and pseudo-labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genlab import metrics
from genlab.methods.classifier import Classifier
from genlab.methods.linear import LinearProbe
from tests.docs.formulas.common import N, Two, formula, images, step, unit
from tests.methods import programs_few_labels as labels
from tests.methods import programs_fixmatch as few
from tests.methods import programs_ssl as ssl


def classifier(**options: Any) -> tuple[Any, dict[str, Any], Tensor, Tensor]:
    """A classifier, its batch, the probabilities p and smoothed targets t."""
    weights = [1.0, 2.0, 0.5]
    method = Classifier(**ssl.CNN, num_classes=3, label_smoothing=0.1, class_weights=weights,
                        **options).double()  # fmt: skip
    batch = images()
    y = torch.eye(3, dtype=torch.float64)[batch["label"]]
    scores = method.logits(batch["image"])
    return method, batch, scores, 0.9 * y + 0.1 / 3


@formula("classifier")
def _cross_entropy() -> Two:
    method, batch, scores, t = classifier(flooding=5.0)
    log_p = (scores.exp() / scores.exp().sum(1, keepdim=True)).log()
    loss = -(method.class_weights * t * log_p).sum() / N
    return step(method, batch), (loss - 5.0).abs() + 5.0


@formula("classifier")
def _focal() -> Two:
    method, batch, scores, t = classifier(loss="focal", focal_gamma=1.5)
    p = scores.exp() / scores.exp().sum(1, keepdim=True)
    return step(method, batch), -(method.class_weights * t * (1 - p) ** 1.5 * p.log()).sum() / N


@formula("classifier")
def _binary_focal() -> Two:
    method = Classifier(**ssl.CNN, num_classes=3, loss="binary_focal").double()
    batch, loss = images(), torch.zeros((), dtype=torch.float64)
    for row, label in zip(method.logits(batch["image"]), batch["label"], strict=True):
        for k, score in enumerate(row):
            p, right = 1 / (1 + (-score).exp()), k == label
            p_t, alpha_t = (p, 0.25) if right else (1 - p, 0.75)
            loss = loss - alpha_t * (1 - p_t) ** 2 * p_t.log() / N
    return step(method, batch), loss


@formula("linear")
def _probe() -> Two:
    method = LinearProbe(**ssl.CNN, num_classes=3, batch_norm=True).double()
    batch = images()
    h = method.encoder(batch["image"])
    h = (h - h.mean(0)) / (h.var(0, correction=0) + 1e-6).sqrt()
    p = (h @ method.head.weight.T + method.head.bias).softmax(1)
    return step(method, batch), -p[torch.arange(N), batch["label"]].log().mean()


def few_labelled(rule: str, statistics: Callable[[Any], None], **options: Any) -> Two:
    """FixMatch's loss by a rule, and the formula with the rule's row of the page's table."""
    settings: dict[str, Any] = {"unlabeled_weight": 0.8, "align": "uniform", "threshold": 0.6}
    method: Any = few.small(rule, **settings | options)
    method.alignment.running.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    statistics(method.rule)
    logits = torch.randn(few.B + 2 * few.M, few.K) * 1.4
    method.logits = lambda image: logits
    batch: Any = few.batches()[0]
    x, weak, strong = logits.double().split([few.B, few.M, few.M])
    q = weak.softmax(1)
    aligned = q * (0.25 / torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64))
    aligned = aligned / aligned.sum(1, keepdim=True)
    loss = -x.log_softmax(1)[torch.arange(few.B), batch["labeled"]["label"]].mean()
    weights = []
    for j in range(few.M):
        m, k = aligned[j].max(0)
        weight = row_of_the_table(rule, float(m), int(k))
        target = torch.eye(few.K, dtype=torch.float64)[q[j].argmax() if rule == "softmatch" else k]
        if rule == "uda":
            target = aligned[j] ** (1 / 0.4) / (aligned[j] ** (1 / 0.4)).sum()
        learner = weak[j] if rule == "pseudo_label" else strong[j]
        loss = loss - 0.8 * weight * (target * learner.log_softmax(0)).sum() / few.M
        weights.append(weight)
    assert min(weights) < 1 <= max(weights), weights
    assert not torch.equal(q.argmax(1), aligned.argmax(1)), "alignment changes nothing"
    return step(method, batch), loss


def row_of_the_table(rule: str, m: float, k: int) -> float:
    if rule == "flexmatch":
        b = [12, 3, 0, 9][k] / 12  # of 36 images 12 are not yet learnt
        return float(m >= 0.9 * b / (2 - b))
    if rule == "freematch":
        e = [0.4, 0.3, 0.2, 0.1]
        return float(m >= 0.9 * e[k] / max(e))
    if rule == "softmatch":
        return math.exp(-2 * min(0.0, m - 0.8) ** 2 / 0.09)
    return float(m >= 0.6)


def nothing(rule: Any) -> None:
    """A rule without statistics."""


def learnt(rule: Any) -> None:
    rule.last[:24] = torch.tensor([0] * 12 + [1] * 3 + [3] * 9)


def expected(rule: Any) -> None:
    rule.confidence.fill_(0.9)
    rule.expected.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))


def moments(rule: Any) -> None:
    rule.mean.fill_(0.8)
    rule.variance.fill_(0.09)


@formula("fixmatch")
def _fixmatch() -> Two:
    return few_labelled("fixmatch", nothing)


@formula("fixmatch")
def _pseudo_label() -> Two:
    return few_labelled("pseudo_label", nothing)


@formula("fixmatch")
def _uda() -> Two:
    return few_labelled("uda", nothing)


@formula("fixmatch")
def _flexmatch() -> Two:
    return few_labelled("flexmatch", learnt, threshold=0.9)


@formula("fixmatch")
def _freematch() -> Two:
    return few_labelled("freematch", expected, fairness=0.0)


@formula("fixmatch")
def _softmatch() -> Two:
    return few_labelled("softmatch", moments)


@formula("vat")
def _vat() -> Two:
    method = labels.small("vat", entropy_weight=0.5, unlabeled_weight=0.7, radius=1.3)
    batch: Any = labels.batch()
    x, y = batch["unlabeled"]["views"][0], batch["labeled"]["label"]
    loss = step(method, batch)
    p = method.perturbed_logits(x).double().softmax(1)
    torch.manual_seed(5)
    r = method.perturbation(x, method.perturbed_logits(x))
    q = method.perturbed_logits(x + r).double().softmax(1)
    labelled = method.perturbed_logits(batch["labeled"]["image"]).double().softmax(1)
    expected = -labelled[torch.arange(labels.B), y].log().mean()
    expected = expected + 0.7 * (p * (p / q).log()).sum() / labels.M
    return loss, expected - 0.5 * (p * p.log()).sum() / labels.M


@formula("mean_teacher")
def _mean_teacher() -> Two:
    method = labels.small("mean_teacher", consistency_weight=3.0)
    method.head_ema.weight.data.mul_(1.5)
    batch: Any = labels.batch()
    image, (weak, strong) = batch["labeled"]["image"], batch["unlabeled"]["views"]
    p = method.head(method.encoder(torch.cat([image, strong]))).double().softmax(1)
    teacher = method.logits(weak).double().softmax(1)
    expected = -p[torch.arange(labels.B), batch["labeled"]["label"]].log().mean()
    distance = (p[labels.B :] - teacher).square().sum() / labels.M
    return step(method, batch), expected + 3.0 * distance


@formula("m2")
def _m2() -> Two:
    method, batch = labels.small("m2", class_weight=0.3).eval(), labels.batch()
    given: Any = batch
    image, y, x = (
        given["labeled"]["image"],
        given["labeled"]["label"],
        given["unlabeled"]["views"][0],
    )
    loss = step(method, given)
    torch.manual_seed(5)
    bound = [method.bound(image, y).double()]
    q = method.logits(x).double().softmax(1)
    for k in range(labels.K):
        inside = method.bound(x, torch.full((labels.M,), k)).double()
        bound.append(q[:, k] * (inside - q[:, k].log()))
    nll = -method.logits(image).double().log_softmax(1)[torch.arange(labels.B), y].mean()
    return loss, -sum(part.sum() for part in bound) / (labels.B + labels.M) + 0.3 * nll


def votes(distance: str) -> Two:
    h, bank = torch.randn(N, 5), torch.randn(30, 5)
    label = torch.arange(30) % 3
    found = metrics.knn_scores(h, metrics.Bank(bank, label, torch.arange(30)), 3, 7, 0.2, distance)  # type: ignore[arg-type]
    scores = torch.zeros(N, 3, dtype=torch.float64)
    length = bank.double().square().sum(1).mean()
    for row, query in zip(scores, h.double(), strict=True):
        if distance == "cosine":
            similarity = unit(bank.double()) @ (query / query.norm())
        else:
            similarity = -(bank.double() - query).square().sum(1) / (2 * length)
        for j in similarity.argsort(descending=True)[:7]:
            row[label[j]] += (similarity[j] / 0.2).exp()
    return found, scores / scores.sum(1, keepdim=True)


@formula("knn")
def _cosine() -> Two:
    return votes("cosine")


@formula("knn")
def _euclidean() -> Two:
    return votes("euclidean")
