"""What the tests of shards run on two ranks."""

from __future__ import annotations

import os
from typing import Any

from genlab.data import ImageFolder

FOLDER = "GENLAB_TEST_SHARDS"  # names the folder to the processes


def batches(rank: int, world: int) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for order in ("global", "shards"):
        data = ImageFolder(
            os.environ[FOLDER], image_size=8, batch_size=6, eval_batch_size=4, seed=3,
            in_memory=False, workers=0, order=order, window=16, val_size=10,
        )  # fmt: skip
        loader = data.train_dataloader()
        loader.set_epoch(2)
        found[order] = list(loader)
        found[f"{order} val"] = list(data.bank_dataloader("val", shard=True))
    return found
