"""Validation images that callbacks draw again and again: the first, or some of the whole split."""

from __future__ import annotations

import lightning as L
import torch

from genlab.contracts import Batch, DataModule, data_of


def first_images(trainer: L.Trainer, method: L.LightningModule, count: int) -> Batch | None:
    """The first validation images on the method's device; None where there are none."""
    data = data_of(trainer)
    loader = data.val_dataloader() if isinstance(data, DataModule) else []
    if not isinstance(data, DataModule) or not len(loader):
        return None
    whole = data.to_device(next(iter(loader)), method.device)
    kept = {key: whole[key][:count] for key in ("image", "label", "index")}
    return Batch(**kept)  # type: ignore[typeddict-item]


def spread_images(trainer: L.Trainer, method: L.LightningModule, count: int) -> Batch | None:
    """Evenly spaced validation images on the method's device; None where there are none."""
    data = data_of(trainer)
    if not isinstance(data, DataModule) or not len(data.val_dataloader()):
        return None
    batches = list[Batch]()
    for raw in data.bank_dataloader("val", most=count):
        batches.append(data.to_device(raw, method.device))
        if sum(len(batch["image"]) for batch in batches) >= count:
            break
    return Batch(
        image=torch.cat([batch["image"] for batch in batches])[:count],
        label=torch.cat([batch["label"] for batch in batches])[:count],
    )
