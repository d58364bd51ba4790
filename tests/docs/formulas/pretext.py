"""Losses of pretext tasks."""

from __future__ import annotations

from typing import Any

import torch

from genlab.augment.pretext.tiles import standardised
from genlab.methods.jigsaw import Jigsaw
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


@formula("jigsaw")
def _permutations() -> Two:
    torch.manual_seed(1)
    method = Jigsaw(**CNN | {"image_size": 24}, head_dims=[6]).double()
    drawn = torch.rand(N, 1, 24, 24, dtype=torch.float64)
    batch: Any = {"image": drawn, "label": torch.zeros(N), "index": torch.arange(N), "seed": 4}
    tiles, label = method.puzzle(batch)
    each = method.encoder(standardised(tiles.transpose(0, 1).flatten(0, 1))).split(N)
    loss = torch.zeros((), dtype=torch.float64)
    for s, y in zip(method.head(torch.cat(each, 1)), label, strict=True):
        loss = loss - (s[y].exp() / s.exp().sum()).log() / N
    return step(method, batch), loss
