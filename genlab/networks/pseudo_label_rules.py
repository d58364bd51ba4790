"""Pseudo-label rules of FixMatch: weight and target of each unlabelled image.

A rule is called with probabilities of weak views (M, K), float32, and gives each image's weight
(M,) in [0, 1]. After every optimiser step `update` moves its statistics, with the predictions of
all processes. Departure of all rules from their papers' code: a step is weighed by the statistics
before it, not by those that include it, so that accumulated batches see the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genlab import distributed
from genlab.losses import sharpen


class Rule(nn.Module):
    """Common base of rules: strong views learn the classes of (aligned) weak predictions."""

    def begin(self, index: Tensor) -> None:
        """Make room for the unlabelled images, given by their index (N,), when training starts."""

    def target(self, q: Tensor, aligned: Tensor) -> Tensor:
        """Targets from predictions and aligned predictions: 2 x (M, K) -> (M,) or (M, K)."""
        return aligned.argmax(1)

    def learner(self, weak: Tensor, strong: Tensor) -> Tensor:
        """The logits that learn it: 2 x (M, K) -> (M, K)."""
        return strong

    def update(self, probability: Tensor, index: Tensor) -> None:
        """Move the running statistics by a step's predictions (M, K) of images ``index`` (M,)."""


class FixedThreshold(Rule):
    """1 where the largest probability reaches the threshold, else 0.

    Args:
        threshold: tau in (0, 1].

    Source: Sohn et al. 2020 (FixMatch), arXiv:2001.07685.
    """

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, probability: Tensor) -> Tensor:
        """(M, K) -> (M,)."""
        return (probability.amax(1) >= self.threshold).float()


class PseudoLabel(FixedThreshold):
    """Pseudo-labels: the weak view itself learns its class.

    Args:
        threshold: tau in (0, 1].

    Source: Lee 2013.
    """

    def learner(self, weak: Tensor, strong: Tensor) -> Tensor:
        """The weak views' logits."""
        return weak


class SharpenedTarget(FixedThreshold):
    """UDA: the strong view learns the sharpened prediction, not its class.

    Args:
        threshold: tau in (0, 1]; it never sees the temperature.
        temperature: T > 0 by which predictions are sharpened.

    Source: Xie et al. 2019, arXiv:1904.12848.
    """

    def __init__(self, threshold: float, temperature: float) -> None:
        super().__init__(threshold)
        self.temperature = temperature

    def target(self, q: Tensor, aligned: Tensor) -> Tensor:
        """Probabilities (M, K)."""
        return sharpen(aligned, self.temperature)


class FlexThreshold(Rule):
    """FlexMatch: a lower threshold for classes that few images have been learnt as.

    ``last`` (N,) is the last confident prediction of each unlabelled image, by its index; -1 for
    none yet, -2 where an index is not in the set.

    Args:
        num_classes: K.
        threshold: tau, the highest; class k's is tau b / (2 - b), b its share of the images
            learnt, over the largest share (that of images not yet learnt included).

    Source: Zhang et al. 2021, arXiv:2110.08263, with threshold warm-up and the convex mapping.
    """

    last: Tensor

    def __init__(self, num_classes: int, threshold: float) -> None:
        super().__init__()
        self.num_classes, self.threshold = num_classes, threshold
        self.register_buffer("last", torch.empty(0, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_make_room)

    def begin(self, index: Tensor) -> None:
        """Make room for the unlabelled images, given by their index (N,)."""
        self.last = torch.full((int(index.max()) + 1,), -2, device=self.last.device)
        self.last[index.to(self.last.device)] = -1

    def forward(self, probability: Tensor) -> Tensor:
        """(M, K) -> (M,)."""
        confidence, label = probability.max(1)
        return (confidence >= self.thresholds()[label]).float()

    def thresholds(self) -> Tensor:
        """Threshold of each class, (K,)."""
        ones = torch.ones_like(self.last)
        counts = torch.zeros(self.num_classes + 2, device=self.last.device, dtype=torch.int64)
        counts.index_add_(0, self.last + 2, ones)  # not in the set, none yet, class 0 ...
        share = counts[2:] / counts[1:].max().clamp(min=1)
        return self.threshold * share / (2 - share)

    def update(self, probability: Tensor, index: Tensor) -> None:
        """Record the confident predictions of the images with ``index`` (M,)."""
        confidence, label = probability.max(1)
        sure = confidence >= self.threshold
        where, what = (distributed.gather_rows(x[sure]) for x in (index, label))
        self.last[where] = what


def _make_room(rule: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """For as many images as a state dict's rule was trained on."""
    if (saved := state_dict.get(f"{prefix}last")) is not None:
        rule.last = rule.last.new_empty(saved.shape)


class FreeThreshold(Rule):
    """FreeMatch: the running mean confidence, times each class's running mean prediction.

    Args:
        num_classes: K.
        decay: share of the running statistics that an update keeps.

    Source: Wang et al. 2022, arXiv:2205.07246, eq. 5 to 8. All statistics start at 1 / K, as
    there and in microsoft/Semi-supervised-learning.
    """

    confidence: Tensor
    expected: Tensor
    counted: Tensor

    def __init__(self, num_classes: int, decay: float) -> None:
        super().__init__()
        self.num_classes, self.decay = num_classes, decay
        even = torch.full((num_classes,), 1 / num_classes)
        self.register_buffer("confidence", even[0].clone())
        self.register_buffer("expected", even.clone())
        self.register_buffer("counted", even.clone())

    def forward(self, probability: Tensor) -> Tensor:
        """(M, K) -> (M,)."""
        confidence, label = probability.max(1)
        return (confidence >= self.thresholds()[label]).float()

    def thresholds(self) -> Tensor:
        """Threshold of each class, (K,)."""
        return self.confidence * self.expected / self.expected.max()

    def update(self, probability: Tensor, index: Tensor) -> None:
        """Move the statistics towards those of this step, over all processes."""
        confidence, label = probability.max(1)
        said = label.new_zeros(self.num_classes).index_add_(0, label, torch.ones_like(label))
        now = torch.cat([confidence.mean()[None], probability.mean(0), said / len(label)])
        now = distributed.all_reduce_sum(now) / distributed.world_size()
        for running, value in zip(
            (self.confidence, self.expected, self.counted),
            (now[0], *now[1:].chunk(2)),
            strict=True,
        ):
            running.lerp_(value, 1 - self.decay)


class SoftThreshold(Rule):
    """SoftMatch: a Gaussian of the confidence below its running mean, 1 above it.

    Args:
        num_classes: K.
        decay: share of the running statistics that an update keeps.

    Source: Chen et al. 2023, arXiv:2301.10921, eq. 4 to 7; the Gaussian's standard deviation is
    half the running one, as in its code.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, num_classes: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.tensor(1 / num_classes))
        self.register_buffer("variance", torch.tensor(1.0))

    def forward(self, probability: Tensor) -> Tensor:
        """(M, K) -> (M,)."""
        below = (probability.amax(1) - self.mean).clamp(max=0)
        return torch.exp(-(below**2) / (2 * self.variance / 4).clamp(min=1e-12))

    def target(self, q: Tensor, aligned: Tensor) -> Tensor:
        """Classes (M,) of the predictions as they are: alignment is for the weights alone."""
        return q.argmax(1)

    def update(self, probability: Tensor, index: Tensor) -> None:
        """Move the statistics towards those of this step, over all processes."""
        confidence = probability.amax(1).double()
        world = distributed.world_size()
        moments = torch.stack([confidence.mean(), confidence.square().mean()])
        mean, square = distributed.all_reduce_sum(moments) / world
        n = len(confidence) * world
        variance = (square - mean**2).clamp(min=0) * n / max(n - 1, 1)
        self.mean.lerp_(mean.to(self.mean.dtype), 1 - self.decay)
        self.variance.lerp_(variance.to(self.variance.dtype), 1 - self.decay)


RULES: dict[str, Callable[[int, float, float, float], Rule]] = {
    "fixmatch": lambda classes, threshold, temperature, decay: FixedThreshold(threshold),
    "pseudo_label": lambda classes, threshold, temperature, decay: PseudoLabel(threshold),
    "uda": lambda classes, threshold, temperature, decay: SharpenedTarget(threshold, temperature),
    "flexmatch": lambda classes, threshold, temperature, decay: FlexThreshold(classes, threshold),
    "freematch": lambda classes, threshold, temperature, decay: FreeThreshold(classes, decay),
    "softmatch": lambda classes, threshold, temperature, decay: SoftThreshold(classes, decay),
}  # each takes what its paper has


class Alignment(nn.Module):
    """Distribution alignment: predictions with the wanted class frequencies.

    Args:
        num_classes: K.
        decay: share of the running mean prediction that an update keeps.

    Attributes:
        running: (K,) the running mean prediction; zeros before the first update, which sets it.
        target: (K,) the wanted class distribution; uniform unless something else is copied in.

    Source: Berthelot et al. 2019 (ReMixMatch), arXiv:1911.09785, section 3.1.
    Departure: an exponential running mean that starts at the first step's, as in
    microsoft/Semi-supervised-learning (USB), instead of that of the last 128 batches. Before that,
    predictions stay as they are.
    """

    running: Tensor
    target: Tensor

    def __init__(self, num_classes: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("running", torch.zeros(num_classes))
        self.register_buffer("target", torch.full((num_classes,), 1 / num_classes))

    def forward(self, probability: Tensor) -> Tensor:
        """(M, K) -> (M, K), rows sum to 1."""
        scale = self.target / self.running.clamp(min=1e-6)
        scaled = probability * scale.where(self.running.any(), 1.0)
        return scaled / scaled.sum(1, keepdim=True)

    def update(self, probability: Tensor) -> None:
        """Move the running mean towards that of this step, over all processes."""
        now = distributed.all_reduce_sum(probability.mean(0)) / distributed.world_size()
        self.running.copy_(now.lerp(self.running, self.decay).where(self.running.any(), now))
