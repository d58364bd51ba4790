"""A training of several processes goes on: to the bit where the order of its sums stays.

DDP orders its buckets of gradients anew after its first step. More than two processes then add in
another order, and so does the first step of a resumed training.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from genlab import testing
from genlab.testing.resuming import fitted

IN_ORDER = "ddp_find_unused_parameters_true"  # keeps its buckets

pytestmark = pytest.mark.ddp


def both(rank: int, world: int, folder: str, strategy: str) -> list[Tensor]:
    """Weights of a straight training, and of one that is resumed from its third step."""
    case = testing.case(["autoencoder/digits"], worlds=(3 * world,))  # 3 batches make a step
    options = {"strategy": strategy, "devices": world}
    straight = fitted(case, Path(folder, "straight"), None, **options)
    start = Path(folder, "straight/checkpoints/step-00000003.ckpt")
    resumed = fitted(case, Path(folder, "resumed"), start, **options)
    return [torch.cat([p.flatten() for p in m.parameters()]).detach() for m in (straight, resumed)]


@pytest.mark.parametrize(
    ("world", "strategy"),
    [
        pytest.param(2, "ddp", marks=pytest.mark.slow),
        (3, IN_ORDER),
        *(pytest.param(world, IN_ORDER, marks=pytest.mark.slow) for world in (4, 8)),
    ],
)
def test_resumed_to_the_bit(
    world: int, strategy: str, ranks: testing.Ranks, tmp_path: Path
) -> None:
    for straight, resumed in ranks.run(both, world, str(tmp_path), strategy):
        assert torch.equal(resumed, straight)


@pytest.mark.slow
@pytest.mark.parametrize("world", [3, 4, 8])
def test_resumed_up_to_a_rounding(world: int, ranks: testing.Ranks, tmp_path: Path) -> None:
    for straight, resumed in ranks.run(both, world, str(tmp_path), "ddp"):
        torch.testing.assert_close(resumed, straight, rtol=0, atol=1e-6)
        assert not torch.equal(resumed, straight)  # else the guides promise too little
