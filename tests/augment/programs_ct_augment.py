"""What the tests of two ranks run on CTAugment."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.augment.ct_augment import CTAugment
from genlab.data.labels.learned_augment import proximity


def rates(rank: int, world: int) -> dict[str, Tensor]:
    """Rates after each of four steps on this rank's share, and then a sum over strong views."""
    policy, found = CTAugment(decay=0.5), []
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(64, 10, generator=generator)
    for seed in range(4):
        image = torch.rand(16, 1, 8, 8, generator=generator)[rank::world]
        label = torch.arange(16)[rank::world] % 10
        probe = policy.probe(image, seed)
        p = (probe["image"].flatten(1) @ weight).softmax(1)
        policy.update(probe["op"], probe["bin"], proximity(p, label))
        found.append(policy.rates.clone())
    assert found[-1].min() < 0.9
    image = torch.rand(16, 1, 8, 8, generator=generator)
    strong = torch.zeros(16, 64)
    strong[rank::world] = policy(image[rank::world], 5).flatten(1)
    if world > 1:
        torch.distributed.all_reduce(strong)
    return {"rates": torch.stack(found), "strong": strong}
