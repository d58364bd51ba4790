"""Options of DDP change no method: losses, gradients and state are those of one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from genlab import testing
from genlab.testing.batches import Batch
from genlab.testing.dealing import EXACT, compare, dealt
from genlab.testing.running import Outcome

SMALLEST = testing.smallest()
OPTIONS: dict[str, dict[str, Any]] = {
    "static_graph": {"static_graph": True},
    "gradient_as_bucket_view": {"gradient_as_bucket_view": True},
    "bucket_view_of_channels_last": {"gradient_as_bucket_view": True, "bucket_cap_mb": 1},
    "find_unused_parameters": {"find_unused_parameters": True},
}


def optioned(
    rank: int,
    world: int,
    make: Callable[[], L.LightningModule],
    data: L.LightningDataModule,
    batches: list[Batch],
    double: bool,
    name: str,
) -> Outcome:
    """As `dealt`, under DDP with options."""
    last = torch.channels_last if "channels_last" in name else torch.preserve_format

    def made() -> L.LightningModule:
        return make().to(memory_format=last)

    strategy = DDPStrategy(**OPTIONS[name])
    return dealt(rank, world, made, data, batches, double, strategy=strategy)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", SMALLEST)
def test_an_option_changes_nothing(kind: str, name: str, ranks: testing.Ranks) -> None:
    recipe = SMALLEST[kind]
    assert recipe is not None
    case = testing.case([recipe])
    given = case.portable, case.fresh_data(), case.batches, case.double
    one = dealt(0, 1, *given)
    for many in ranks.run(optioned, 2, *given, name):
        apart, where = compare(many, one)
        assert apart <= EXACT[case.double], where
