from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genlab import losses
from genlab.networks.bank import Bank
from genlab.networks.clusters import Clusters
from genlab.networks.queue import Queue, keep_out_of_ddp
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x


def test_a_write_goes_round_and_drops_nothing() -> None:
    queue = Queue(10, 3)
    start = queue.keys.clone()
    for step in range(2):
        queue.enqueue(torch.full((4, 3), float(step)))
    torch.testing.assert_close(queue.keys[8:], start[8:])  # not reached yet
    queue.enqueue(torch.arange(4.0)[:, None].expand(4, 3) + 10)
    assert int(queue.pointer) == 2
    expected = torch.tensor([12.0, 13, 0, 0, 1, 1, 1, 1, 10, 11])
    torch.testing.assert_close(queue.keys[:, 0], expected)


def test_queue_and_pointer_are_in_the_checkpoint_and_take_no_gradient() -> None:
    queue, other = Queue(6, 3), Queue(6, 3)
    queue.enqueue(torch.ones(4, 3, requires_grad=True))
    other.load_state_dict(queue.state_dict())
    assert torch.equal(other.keys, queue.keys)
    assert int(other.pointer) == 4
    assert not queue.keys.requires_grad
    assert not list(queue.parameters())


def test_keys_start_as_directions() -> None:
    queue = Queue(50, 8)
    torch.testing.assert_close(queue.keys.norm(dim=1), torch.ones(50))
    assert float(queue.keys.std()) > 0.2


def test_three_batches_have_the_losses_on_paper() -> None:
    """The logits come before the keys enter, and the queue is no part of the gradient."""
    queue = Queue(12, 16)
    queue.keys.copy_(F.normalize(x(5, 12, 16)))
    expected = [(12.1622944, 1.740230), (11.2188826, 1.250170), (12.2735767, 1.624222)]
    for step, (value, slope) in enumerate(expected):
        q, k = x(10 + step, 4, 16).float().requires_grad_(), x(20 + step, 4, 16).float()
        loss = losses.info_nce(q, k, queue.keys, 0.1)
        loss.backward()
        queue.enqueue(F.normalize(k))
        assert float(loss.detach()) == pytest.approx(value, abs=1e-5)
        assert q.grad is not None
        assert float(q.grad.norm()) == pytest.approx(slope, abs=2e-6)
        assert int(queue.pointer) == (4, 8, 0)[step]


def test_ranks_hold_the_same_queue_as_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.networks.programs_queue:three_writes", atol=0)


def test_a_queue_must_hold_a_batch() -> None:
    with pytest.raises(ValueError, match="queue_size 3 is less than the 4 keys"):
        Queue(3, 2).enqueue(torch.ones(4, 2))
    with pytest.raises(ValueError, match="at least 1"):
        Queue(0, 2)


def test_ddp_is_told_of_every_queue_of_a_method() -> None:
    method = nn.ModuleDict(
        {"near": Queue(4, 2), "deep": nn.Sequential(nn.Linear(2, 2), Queue(4, 2))}
    )
    keep_out_of_ddp(method)
    told = method._ddp_params_and_buffers_to_ignore
    assert set(told) == {"near.keys", "near.pointer", "deep.1.keys", "deep.1.pointer"}  # type: ignore[arg-type]


def test_ddp_is_told_of_any_module_that_says_it_is_equal_on_ranks() -> None:
    class Counts(nn.Module):
        equal_on_ranks = True

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(3))

    method = nn.ModuleDict({"mine": Counts(), "norm": nn.BatchNorm1d(2)})
    method["bank"], method["clusters"] = Bank(2), Clusters([2], 2)
    keep_out_of_ddp(method)
    told = set(method._ddp_params_and_buffers_to_ignore)  # type: ignore[arg-type]
    clusters = {f"clusters.{name}" for name in ("centroids_0", "labels", "agreement")}
    assert told == {"mine.seen", "bank.rows", "bank.row_of"} | clusters
