"""Training batches with views; nothing of them in evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import Digits, ImageFolder


def first(data: Digits, part: str) -> dict[str, Any]:
    loader = data.train_dataloader() if part == "train" else data.bank_dataloader("val")
    return data.to_device(next(iter(loader)))


def test_training_batches_hold_views_of_the_clean_images() -> None:
    data = Digits(batch_size=16, views={"preset": "simclr", "flip": False}, seed=3)
    batch = first(data, "train")
    assert [tuple(view.shape) for view in batch["views"]] == [(16, 1, 8, 8)] * 2
    plain = first(Digits(batch_size=16, seed=3), "train")
    assert torch.equal(batch["image"], plain["image"])
    assert not torch.equal(batch["views"][0], batch["views"][1])
    again = first(Digits(batch_size=16, views={"preset": "simclr", "flip": False}, seed=3), "train")
    assert torch.equal(again["views"][1], batch["views"][1])
    assert "views" not in first(data, "val")
    assert "views" not in plain


def test_views_differ_from_image_view_epoch_and_worker(tmp_path: Path) -> None:
    """64 views of copies of one picture, decoded here or by workers: all different, and the same.

    Generators that every worker or epoch starts alike would give the same views again and again.
    """
    pixels = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    for name in range(16):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")

    def views(workers: int) -> torch.Tensor:
        sizes: dict[str, Any] = {"image_size": 24, "batch_size": 8, "val_size": 0, "test_size": 0}
        data = ImageFolder(
            str(tmp_path), views="simclr", in_memory=False, workers=workers, seed=3, **sizes
        )
        loader, found = data.train_dataloader(), []
        for epoch in range(2):
            loader.set_epoch(epoch)
            found += [view for raw in loader for view in data.to_device(raw)["views"]]
        return torch.cat(found)

    alone = views(0)
    assert len({tuple(view.flatten().tolist()) for view in alone}) == len(alone) == 64
    assert torch.equal(views(2), alone)


def test_views_and_other_changes_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="views cannot be combined with augment"):
        Digits(views="simclr", augment={"flip": True})
    with pytest.raises(ValueError, match="views cannot be combined with augment or binarize"):
        Digits(views="simclr", binarize="dynamic")
    with pytest.raises(ValueError, match="did you mean simclr"):
        Digits(views="simclrr")
