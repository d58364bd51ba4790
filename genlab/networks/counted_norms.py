"""Batch norm of rows of which some are there only to fill a tensor up."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genlab import distributed
from genlab.networks.split_batch_norm import BATCH_NORMS


def through(layers: nn.Sequential, x: Tensor, counted: Tensor | None = None) -> Tensor:
    """Output of layers whose batch norms in training see only rows that count: (M, F) -> (M, D).

    Args:
        layers: a fully connected stack.
        x: (M, F).
        counted: rows that count, (M,) bool; None for all, and plain batch norm.
    """
    for layer in layers:
        if counted is not None and layer.training and isinstance(layer, BATCH_NORMS):
            x = counted_batch_norm(layer, x, counted)
        else:
            x = layer(x)
    return x


def counted_batch_norm(norm: Any, x: Tensor, counted: Tensor) -> Tensor:
    """Batch norm in training by the mean and variance of rows that count: (M, D) -> (M, D).

    They are those of all processes, whatever ``trainer.sync_batchnorm`` says: processes may hold
    different numbers of such rows. The other rows are normalised by the same mean and variance.

    Args:
        norm: batch norm with weights and running statistics, which move.
        x: (M, D).
        counted: (M,) bool.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    rows = counted.to(wide.dtype)[:, None]  # (M, 1)
    count = distributed.all_reduce_sum(rows.sum()).clamp(min=1)
    mean = distributed.all_reduce((wide * rows).sum(0)) / count
    apart = wide - mean
    var = distributed.all_reduce((apart.square() * rows).sum(0)) / count
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        unbiased = var * count / (count - 1).clamp(min=1)
        for running, now in ((norm.running_mean, mean), (norm.running_var, unbiased)):
            running.lerp_(now.detach().to(running.dtype), norm.momentum)
    return (apart * (var + norm.eps).rsqrt() * norm.weight + norm.bias).to(x.dtype)
