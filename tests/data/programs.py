"""What the tests of two ranks run."""

from __future__ import annotations

from typing import Any

from genlab.data import Digits


def training_batches(rank: int, world: int) -> list[dict[str, Any]]:
    data = Digits(batch_size=128, val_size=200, binarize="dynamic", seed=5)
    loader = data.train_dataloader()
    loader.set_epoch(2)
    return [data.to_device(batch) for batch in loader]


def evaluation_batches(rank: int, world: int) -> list[dict[str, Any]]:
    data = Digits(eval_batch_size=64, val_size=201, binarize="fixed")
    loader = data.val_dataloader()
    assert not isinstance(loader, list)
    return [data.to_device(batch) for batch in loader]


AUGMENT = {"flip": True, "translate": 2, "rotate": 20.0, "crop": [0.5, 1.0], "erase": 0.5}


def augmented_batches(rank: int, world: int) -> list[dict[str, Any]]:
    data = Digits(batch_size=128, val_size=200, seed=5, augment={**AUGMENT, "fill": "noise"})
    loader = data.train_dataloader()
    loader.set_epoch(2)
    return [data.to_device(batch) for batch in loader]


def balanced_batches(rank: int, world: int) -> list[dict[str, Any]]:
    data = Digits(batch_size=128, val_size=200, seed=5, sampling="balanced", limit=0.5)
    loader = data.train_dataloader()
    loader.set_epoch(2)
    return [data.to_device(batch) for batch in loader]
