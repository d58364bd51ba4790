"""What the tests run on one process and on two."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genlab import optim
from tests.optim.tiny import Tiny, weights


def sam_steps(rank: int, world: int) -> Tensor:
    """Three steps of SAM on shares of the same batches, without BatchNorm."""
    module = Tiny()
    module.encoder.backbone[1] = nn.LayerNorm(6)  # type: ignore[operator]
    module.forward = partial(module.training_step, batch_idx=0)  # type: ignore[method-assign]
    network: nn.Module = DistributedDataParallel(module) if world > 1 else module
    optimizer = optim.build(module, {"name": "torch.sgd", "lr": 0.1, "sam": 0.5})
    for batch in torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(1)):

        def closure(share: Tensor = batch[rank::world]) -> Tensor:
            optimizer.zero_grad()
            loss = network(share)
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]
    return weights(module)
