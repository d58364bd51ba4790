"""Queries against the keys of the batch: with neighbours as queries, NNCLR's loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import losses
from genlab.networks.queue import Queue
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x

NEIGHBOURS = ([1, 2, 3, 4, 5, 6, 5, 8], [1, 2, 3, 4, 5, 6, 8, 9])


def support() -> Queue:
    queue = Queue(10, 16).double()
    queue.keys.copy_(F.normalize(x(3, 10, 16), dim=1))
    return queue


def slow(neighbour: Tensor, prediction: Tensor, temperature: float) -> float:
    """Image by image, after the paper's equation 4."""
    total = 0.0
    for i, n in enumerate(neighbour):
        terms = [float(n @ (p / p.norm())) / temperature for p in prediction]
        total -= terms[i] - float(torch.tensor(terms, dtype=torch.float64).logsumexp(0))
    return total / len(neighbour)


def test_value_of_both_directions() -> None:
    """NN1."""
    queue, p = support(), [x(s, 8, 16).requires_grad_() for s in (4, 5)]
    z = [x(s, 8, 16).requires_grad_() for s in (0, 1)]
    n = [queue.nearest(one) for one in z]
    for found, rows in zip(n, NEIGHBOURS, strict=True):
        assert torch.equal(found, queue.keys[rows])
    loss = (losses.batch_nce(n[0], p[1], 0.1) + losses.batch_nce(n[1], p[0], 0.1)) / 2
    loss.backward()
    assert float(loss.detach()) == pytest.approx(5.125726008561, abs=1e-9)
    slope = torch.cat([one.grad for one in p if one.grad is not None]).norm()
    assert float(slope) == pytest.approx(1.026907374892, abs=1e-9)
    assert all(one.grad is None for one in z)  # embeddings enter by the look-up alone
    slowly = slow(n[0], p[1].detach(), 0.1) + slow(n[1], p[0].detach(), 0.1)
    assert slowly / 2 == pytest.approx(5.125726008561, abs=1e-9)


def test_nt_xent_of_neighbours_and_predictions_is_another_loss() -> None:
    """NN2: it has negatives between neighbours, and between predictions (lightly, 6.1315)."""
    queue = support()
    n1, n2 = (queue.nearest(x(s, 8, 16)) for s in (0, 1))
    other = (losses.nt_xent(n1, x(5, 8, 16), 0.1) + losses.nt_xent(n2, x(4, 8, 16), 0.1)) / 2
    assert float(other) == pytest.approx(6.131478106653, abs=1e-9)


@pytest.mark.ddp
def test_two_ranks_are_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.losses.programs_contrastive:batch_keys", atol=1e-9)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(kind: torch.dtype) -> None:
    with torch.autocast("cpu", dtype=kind):
        loss = losses.batch_nce(x(0, 8, 16).to(kind), x(1, 8, 16).to(kind), 0.05)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
