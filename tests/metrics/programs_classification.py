"""Programs that tests run on one process and on two."""

from __future__ import annotations

import torch

from genlab.metrics import classification_metrics
from tests.metrics.test_classification import made_up


def of_a_test(rank: int, world: int) -> dict[str, torch.Tensor]:
    """Every figure of 600 images: 400 on the first rank, 200 on the second."""
    p, label = made_up()
    shares = [slice(0, 400), slice(400, 600)]
    found = classification_metrics(7, "test")
    for share in shares if world == 1 else [shares[rank]]:
        found.update(p[share], label[share])
    return dict(found.compute())
