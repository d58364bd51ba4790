"""Modes of networks: evaluation for a while, and what a step leaves as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import torch
from torch import nn

from genlab.networks.split_batch_norm import BATCH_NORMS


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Temporary eval mode; afterwards every part returns to its own mode."""
    modes = [(part, part.training) for network in networks for part in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def still(method: L.LightningModule) -> Iterator[None]:
    """Temporary eval mode without gradient and with fixed noise; the generators are restored."""
    training = method.training
    method.eval()
    with torch.no_grad(), torch.random.fork_rng(_cuda(method)):
        torch.manual_seed(0)
        yield
    method.train(training)


@contextmanager
def statistics_kept(*networks: nn.Module) -> Iterator[None]:
    """Batch norms that in training normalise by the batch and leave their running statistics."""
    norms = [part for network in networks for part in network.modules()]
    moving = [part for part in norms if isinstance(part, BATCH_NORMS) and part.track_running_stats]
    for norm in moving:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in moving:
            norm.track_running_stats = True


def leave_out(*parts: nn.Module) -> None:
    """Take the gradients of some parts away: neither momentum nor weight decay then move them.

    Args:
        parts: modules that the next optimiser step leaves as they are.
    """
    for parameter in (one for part in parts for one in part.parameters()):
        parameter.grad = None


def _cuda(module: L.LightningModule) -> list[int]:
    return [module.device.index or 0] if module.device.type == "cuda" else []
