from __future__ import annotations

import torch

from genlab.networks.pending import Pending


def test_tensors_of_all_batches_come_once_and_in_order() -> None:
    pending = Pending()
    assert pending.take() == []
    pending.put(3, torch.zeros(1, 2), torch.zeros(2))
    pending.put(4, torch.ones(1, 2), torch.ones(1))
    pending.put(3, torch.full((1, 2), 5.0), torch.full((2,), 5.0))  # computed anew, as SAM does
    first, second = pending.take()
    assert first.tolist() == [[5, 5], [1, 1]]
    assert second.tolist() == [5, 5, 1]
    assert not pending
    pending.put(0, torch.ones(1))
    pending.drop()
    assert pending.take() == []
