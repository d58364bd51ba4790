"""Programs that run on one process and on two ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from genlab.networks.bank import Bank
from tests.losses.golden_embeddings import x


def moved(rank: int, world: int) -> Any:
    """A bank of five images after two moves; one image stands in the second twice."""
    torch.manual_seed(7 * rank)  # ranks would draw different rows
    bank = Bank(4).double()
    bank.fit_to(np.array([8, 2, 5, 3, 9]))
    torch.manual_seed(0)
    for s, index in enumerate(([8, 2, 5, 3], [9, 2, 9, 3])):
        mine = torch.tensor(index)[rank::world]
        bank.move(bank.rows_at(mine), x(s, 4, 4)[rank::world], 0.5)
    return bank.rows
