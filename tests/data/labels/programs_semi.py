"""What the tests of two ranks run on semi-supervised data."""

from __future__ import annotations

from typing import Any

from genlab.data import Digits


def loader_of(**options: Any) -> Any:
    own: dict[str, Any] = {"batch_size": 64, "val_size": 200, "labels": 40, "steps_per_epoch": 5}
    return Digits(**own | {"unlabeled_ratio": 7, "seed": 5, "augment": {"translate": 1}} | options)


def batches(rank: int, world: int) -> list[dict[str, Any]]:
    """An epoch on the device."""
    data = loader_of()
    loader = data.train_dataloader()
    loader.set_epoch(2)
    return [data.to_device(batch) for batch in loader]
