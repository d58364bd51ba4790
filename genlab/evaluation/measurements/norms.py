"""Do batch norms restore what they take: gamma against the standard deviation, beta the mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from genlab.evaluation.measured import Measured


def measure(method: nn.Module, data: Any, judge: Any = None) -> Measured:
    """Agreement of every trained batch norm's gamma and beta with its running statistics.

    A norm with gamma = std and beta = mean in every channel is the identity.

    Args:
        method: method with batch norms.
        data: None; it is not used.
        judge: None; it is not used.

    Logs:
        test/gamma_correlation (correlation): Pearson's, of gamma and the running standard deviation
            over a layer's channels, mean over batch norms; 1 where they restore it.
        test/beta_correlation (correlation): the same of beta and the running mean.
        test/gamma_ratio (ratio): median of gamma over the standard deviation, over all channels; 1
            where it is restored.
        test/norms_restored (fraction, higher): share of the change by normalising that gamma and
            beta undo: 1 - sum of ((gamma - std)^2 + (beta - mean)^2) over the same sum of gamma 1
            and beta 0; may be below 0.
        test/norms_read (layers): number of batch norms with gamma, beta and running statistics.

    Raises:
        ValueError: there is no such norm.
    """
    kept = [
        one
        for one in method.modules()
        if isinstance(one, _BatchNorm) and one.affine and one.track_running_stats
    ]
    if not kept:
        raise ValueError(f"{type(method).__name__} has no batch norm with gamma and beta")
    with torch.no_grad():
        gammas, betas, stds, means = [], [], [], []
        for one in kept:
            assert one.running_var is not None
            assert one.running_mean is not None
            gammas.append(one.weight.double())
            betas.append(one.bias.double())
            stds.append((one.running_var.double() + one.eps).sqrt())
            means.append(one.running_mean.double())
        gamma, beta, std, mean = (torch.cat(x) for x in (gammas, betas, stds, means))
        left = (gamma - std).square().sum() + (beta - mean).square().sum()
        taken = (1 - std).square().sum() + mean.square().sum()
        return Measured({
            "gamma_correlation": _correlation(gammas, stds),
            "beta_correlation": _correlation(betas, means),
            "gamma_ratio": float((gamma / std).median()),
            "norms_restored": float(1 - left / taken),
            "norms_read": len(kept),
        })  # fmt: skip


def _correlation(first: list[torch.Tensor], second: list[torch.Tensor]) -> float:
    """Mean over layers of Pearson's; a layer where one does not vary counts 0."""
    pairs = zip(first, second, strict=True)
    each = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs if len(pair[0]) > 1]
    return float(torch.stack(each).nan_to_num(0.0).mean()) if each else float("nan")
