"""Training batches with views; nothing of them in evaluation."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.data import Digits


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


def test_views_and_other_changes_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="without augment"):
        Digits(views="simclr", augment={"flip": True})
    with pytest.raises(ValueError, match="without augment and binarize"):
        Digits(views="simclr", binarize="dynamic")
    with pytest.raises(ValueError, match="did you mean simclr"):
        Digits(views="simclrr")
