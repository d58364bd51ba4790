"""The first validation images, for callbacks that draw the same ones again and again."""

from __future__ import annotations

import lightning as L

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
