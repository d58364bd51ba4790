"""Gradients of an expectation over a categorical variable: exact, and estimated from one draw.

Each estimate is of d/d logits E f(e_k), k drawn from softmax(logits), e_k its one-hot vector.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Value = Callable[[Tensor], Tensor]  # (B, K), one-hot or relaxed -> (B,)


def exact(value: Value, logits: Tensor) -> Tensor:
    """The gradient by enumeration, p_k (f(e_k) - sum_j p_j f(e_j)): (K,) -> (K,)."""
    p = logits.detach().softmax(0)
    with torch.no_grad():
        f = value(torch.eye(len(p), dtype=p.dtype, device=p.device))
    return p * (f - p @ f)


def reinforce(value: Value, logits: Tensor, draws: int, baseline: bool = False) -> Tensor:
    """Likelihood-ratio estimates f(e_k) d log p_k / d logits, without bias: (K,) -> (draws, K).

    Williams 1992; ``baseline`` takes from each value the mean of the other draws, which keeps it
    without bias (leave one out; Kool, van Hoof, Welling 2019).

    Args:
        value: function f.
        logits: scores (K,).
        draws: number of estimates, two at least with ``baseline``.
        baseline: True for the mean of the others.

    Raises:
        ValueError: fewer than two draws for a baseline.
    """
    if baseline and draws < 2:
        raise ValueError("a baseline requires at least two draws")
    p = logits.detach().softmax(0)
    chosen = F.one_hot(torch.multinomial(p, draws, replacement=True), len(p)).to(p)
    with torch.no_grad():
        f = value(chosen)
    if baseline:
        f = f - (f.sum() - f) / (draws - 1)
    return f[:, None] * (chosen - p)


def straight_through(value: Value, logits: Tensor, draws: int) -> Tensor:
    """Gradient of f at the drawn one-hot vector, taken for that of p: (K,) -> (draws, K).

    Bengio, Leonard, Courville 2013, arXiv:1308.3432. Biased unless f is linear.
    """
    free = logits.detach().expand(draws, -1).clone().requires_grad_()
    with torch.enable_grad():
        p = free.softmax(1)
        chosen = F.one_hot(torch.multinomial(p.detach(), 1)[:, 0], p.shape[1]).to(p)
        return torch.autograd.grad(value(chosen + p - p.detach()).sum(), free)[0]


def gumbel_softmax(
    value: Value, logits: Tensor, draws: int, temperature: float = 1.0, hard: bool = False
) -> Tensor:
    """Gradient through relaxed draws softmax((logits + g) / tau): (K,) -> (draws, K).

    Jang, Gu, Poole 2016, arXiv:1611.01144; Maddison, Mnih, Teh 2016, arXiv:1611.00712.

    Args:
        value: function f, which also takes points of the simplex.
        logits: scores (K,).
        draws: number of estimates.
        temperature: tau; with a lower one there is less bias and more variance.
        hard: True for the value at the one-hot vector, and the gradient through the relaxed one.
    """
    free = logits.detach().expand(draws, -1).clone().requires_grad_()
    noise = -torch.empty_like(free).exponential_().log()
    with torch.enable_grad():
        soft = ((free + noise) / temperature).softmax(1)
        chosen = F.one_hot(soft.argmax(1), soft.shape[1]).to(soft)
        return torch.autograd.grad(
            value(chosen + soft - soft.detach() if hard else soft).sum(), free
        )[0]


def bias_and_variance(estimates: Tensor, gradient: Tensor) -> tuple[float, float]:
    """Squared length of the mean error, and variance summed over logits, over ||gradient||^2.

    The first is corrected for the number of estimates: without bias its mean is 0, and it may be
    negative.

    Args:
        estimates: estimates of the gradient, (S, K).
        gradient: exact one (K,).
    """
    scale = gradient.square().sum()
    spread = estimates.var(0).sum()
    off = (estimates.mean(0) - gradient).square().sum() - spread / len(estimates)
    return float(off / scale), float(spread / scale)
