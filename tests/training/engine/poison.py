"""Digits of which some batches are not finite, for trainings that must notice."""

from __future__ import annotations

import math
from typing import Any

from genlab import distributed
from genlab.data import Digits
from genlab.data.loader import batch_seed, default_seed

HERE = "tests.training.engine.poison"


class Poisoned(Digits):
    """Digits with one pixel of some training batches replaced.

    Args:
        bad: batches of the first epoch.
        value: the pixel; NaN by default.
        rank: process whose batch it is; None for all.
        options: arguments of `Digits`.
    """

    def __init__(
        self,
        bad: list[int] | None = None,
        value: float = math.nan,
        rank: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.bad, self.value, self.rank = bad or [], value, rank

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        seeds = {batch_seed(default_seed(), 0, place) for place in self.bad}
        hit = batch.get("seed") in seeds and self.rank in (None, distributed.rank())
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if hit:
            part = batch.get("labeled", batch)
            for image in part.get("views") or [part["image"]]:
                image[0, 0, 0, 0] = self.value
        return batch
