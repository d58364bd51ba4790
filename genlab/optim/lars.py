"""LARS: momentum in which every layer moves in proportion to its own norm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genlab.internals import torch_parts


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rates for large batches.

    For each parameter, with ``d = g + lambda w`` and ``q = eta ||w|| / ||d||``, a step is
    ``m <- mu m + q d`` and ``w <- w - lr m``; q is 1 where w or d is zero. Spared parameters
    (vectors, or what the ``spared`` of their group says, see `parameter_groups`) take neither decay
    nor q: they move as under plain momentum. Whether a parameter is spared does not depend on the
    decay being zero. ``optimizer.spare_vectors: false`` spares none, as apex's LARC (SwAV).

    Args:
        params: parameters, or groups.
        lr: learning rate; outside the momentum buffer, as in PyTorch's SGD.
        momentum: mu; fraction of the last update that the next one keeps.
        weight_decay: lambda; times the weights, added to the gradient.
        trust_coefficient: eta; length of an update as a share of its weights' norm, at lr 1.
        clip_lr: LARC instead: q = min(eta ||w|| / (||g|| + lambda ||w||) / lr, 1), so that the
            layer's rate never exceeds lr; another optimiser, that of solo-learn's CIFAR results
            (with eta 0.02).

    Raises:
        ValueError: a negative number.

    Source: You, Gitman, Ginsburg 2017, arXiv:1708.03888, in the form of facebookresearch/moco-v3
    and barlowtwins. Departures from the paper: its q divides by ||g|| + lambda ||w||, here by the
    norm of the sum; its buffer contains the learning rate.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 0.001,
        clip_lr: bool = False,
    ) -> None:
        numbers = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient,
        }
        for name, value in numbers.items():
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        super().__init__(params, numbers | {"clip_lr": clip_lr, "spared": None})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; the closure, if any, computes the loss and its gradient first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._move(group, weights)
        return loss

    def _move(self, group: dict[str, Any], weights: list[Tensor]) -> None:
        updates = [p.grad for p in weights if p.grad is not None]
        spared = group["spared"]  # None: the caller gave no groups, and vectors are
        scaled = [
            i for i, p in enumerate(weights) if not (p.ndim <= 1 if spared is None else spared)
        ]
        if scaled:
            chosen = [weights[i] for i in scaled]
            moves = _scaled(group, chosen, [updates[i] for i in scaled])
            for i, move in zip(scaled, moves, strict=True):
                updates[i] = move
        for p in weights:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["momentum_buffer"] for p in weights]
        torch_parts.foreach_mul_(buffers, group["momentum"])
        torch_parts.foreach_add_(buffers, updates)
        torch_parts.foreach_add_(weights, buffers, alpha=-group["lr"])


def _scaled(group: dict[str, Any], weights: list[Tensor], grads: list[Tensor]) -> list[Tensor]:
    """Each layer's q (g + lambda w); nothing is fetched from the device."""
    updates = torch_parts.foreach_add(grads, weights, alpha=group["weight_decay"])
    sizes = torch.stack(torch_parts.foreach_norm(weights))
    lengths = torch.stack(torch_parts.foreach_norm(grads if group["clip_lr"] else updates))
    if group["clip_lr"]:
        lengths = lengths + group["weight_decay"] * sizes
    ratio = group["trust_coefficient"] * sizes / lengths
    if group["clip_lr"]:
        ratio = (ratio / group["lr"]).clamp(max=1)
    ratio = torch.where((sizes > 0) & (lengths > 0), ratio, 1.0)
    return torch_parts.foreach_mul(updates, ratio.unbind())
