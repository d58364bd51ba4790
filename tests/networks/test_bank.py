"""The memory bank: the reference's values, rows by place, duplicates, checkpoints, ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from genlab import losses
from genlab.networks.bank import Bank
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x


def golden() -> Bank:
    bank = Bank(16).double()
    bank.fit_to(np.arange(20))
    bank.rows.copy_(F.normalize(x(3, 20, 16), dim=1))
    return bank


def test_loss_and_move_are_the_references() -> None:
    """WB1."""
    bank, z, rows = golden(), x(0, 8, 16).requires_grad_(), torch.arange(0, 16, 2)
    loss = losses.instance_nll(z, bank.rows, rows, 0.1)
    before = bank.rows.clone()
    loss.backward()
    assert torch.equal(bank.rows, before)  # the reference moves it here
    assert float(loss.detach()) == pytest.approx(4.207577386743, abs=1e-9)
    assert z.grad is not None
    assert float(z.grad.norm()) == pytest.approx(1.060398936746, abs=1e-9)
    bank.move(rows, F.normalize(z, dim=1), 0.5)
    assert float(bank.rows.sum()) == pytest.approx(-5.731513557231, abs=1e-9)
    others = torch.ones(20, dtype=torch.bool)
    others[rows] = False
    assert torch.equal(bank.rows[others], before[others])


def test_a_slow_reference_agrees() -> None:
    bank, total = golden(), 0.0
    for i, z in enumerate(F.normalize(x(0, 8, 16), dim=1)):
        terms = torch.stack([z @ row for row in bank.rows]) / 0.1
        total += float(terms.exp().sum().log() - terms[2 * i])
    assert total / 8 == pytest.approx(4.207577386743, abs=1e-9)


def test_rows_are_found_by_the_place_in_the_data_set() -> None:
    bank = Bank(3)
    bank.fit_to(np.array([7, 2, 4]))
    torch.testing.assert_close(bank.rows.norm(dim=1), torch.ones(3))
    assert bank.rows_at(torch.tensor([2, 7, 4])).tolist() == [1, 0, 2]


def test_an_image_that_stands_in_a_batch_twice_moves_once() -> None:
    """WB3."""
    bank = golden()
    start, z = bank.rows[3].clone(), F.normalize(x(1, 2, 16), dim=1)
    bank.move(torch.tensor([3, 3]), z, 0.5)
    torch.testing.assert_close(bank.rows[3], F.normalize(0.5 * start + 0.25 * z.sum(0), dim=0))


def test_a_checkpoint_brings_its_own_number_of_rows() -> None:
    bank, other = golden(), Bank(16).double()
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other.rows, bank.rows)
    other.fit_to(np.arange(20))  # the rows stay
    assert torch.equal(other.rows, bank.rows)
    with pytest.raises(ValueError, match=r"has 20 rows, the training data 19 images"):
        other.fit_to(np.arange(19))
    with pytest.raises(ValueError, match="requires data that tell the index"):
        Bank(3).fit_to(None)


def test_ranks_hold_one_bank(two_ranks: TwoRanks) -> None:
    """WB4."""
    two_ranks.assert_same("tests.networks.programs_bank:moved", atol=1e-12)
