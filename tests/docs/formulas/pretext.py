"""Losses of pretext tasks."""

from __future__ import annotations

import torch

from genlab.methods.rotation import Rotation
from tests.docs.formulas.common import N, Two, formula, images, step
from tests.methods.programs_ssl import CNN


@formula("rotation")
def _four_turns() -> Two:
    torch.manual_seed(1)
    method, batch = Rotation(**CNN).double(), images()
    turns = [torch.rot90(batch["image"], k, (2, 3)) for k in range(4)]
    scores = method.head(method.encoder(torch.cat(turns)))
    loss = torch.zeros((), dtype=torch.float64)
    for row, s in enumerate(scores):
        k = row // N
        loss = loss - (s[k].exp() / s.exp().sum()).log() / (4 * N)
    return step(method, batch), loss
