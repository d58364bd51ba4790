"""The denominator and the query's gradient against autograd through the losses themselves."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from genlab import losses


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=1)


def test_orthogonal_negatives_have_a_closed_form() -> None:
    """K negatives at right angles: log K, and p = 1 / (1 + e^(1 / tau) / K) of them together."""
    axes = torch.eye(6, dtype=torch.float64)
    query, tau, k = axes[:1], 0.5, 4
    found = losses.denominator(query, query, axes[2:], tau)
    torch.testing.assert_close(found["denominator"], torch.tensor(math.log(k)).double())
    p = 1 / (1 + math.exp(1 / tau) / k)
    expected = math.sqrt(p**2 + p**2 / k) / tau  # of -p key + sum_n p / K n
    torch.testing.assert_close(found["query_gradient"], torch.tensor(expected).double())


def test_the_gradient_is_that_of_the_losses() -> None:
    q, k, queue, tau = unit(5, 4).requires_grad_(), unit(5, 4), unit(7, 4), 0.2
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / tau
    nll = F.cross_entropy(logits, torch.zeros(5, dtype=torch.long), reduction="sum")
    torch.testing.assert_close(nll / 5, losses.info_nce(q, k, queue, tau))
    (gradient,) = torch.autograd.grad(nll, q)
    found = losses.denominator(q, k, queue, tau)
    torch.testing.assert_close(found["query_gradient"], gradient.norm(dim=1).mean())
    torch.testing.assert_close(found["denominator"], (q @ queue.T / tau).logsumexp(1).mean())


def test_negatives_of_a_batch_are_all_others() -> None:
    """With the keys' and the views' own denominators the losses are whole again."""
    a, b, tau = unit(6, 4), unit(6, 4), 0.3
    for whole, found, pairs in (
        (losses.batch_nce(a, b, tau), losses.denominator_of_keys(a, b, tau), [(a, b)]),
        (losses.nt_xent(a, b, tau), losses.denominator_of_views(a, b, tau), [(a, b), (b, a)]),
    ):
        others, total = [], []
        for q, k in pairs:
            for i in range(6):
                rest = [j for j in range(6) if j != i]
                keys = torch.cat([k[rest], q[rest]]) if len(pairs) == 2 else k[rest]
                others.append((keys @ q[i] / tau).logsumexp(0))
                positive = q[i] @ k[i] / tau
                total.append(torch.logaddexp(others[-1], positive) - positive)
        torch.testing.assert_close(found["denominator"], torch.stack(others).mean())
        torch.testing.assert_close(whole, torch.stack(total).mean())
