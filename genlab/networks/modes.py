"""Temporary eval mode, after which every part returns to its own mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L
import torch
from torch import nn


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


def _cuda(module: L.LightningModule) -> list[int]:
    return [module.device.index or 0] if module.device.type == "cuda" else []
