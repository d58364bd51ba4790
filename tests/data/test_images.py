"""What every data module promises: splits, batch sizes, float images, binarising."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genlab.data import BrokenDataError, Digits, Images
from genlab.data.in_memory import Pictures
from genlab.data.loader import EvalLoader, Source
from tests.conftest import TwoRanks


class Fake(Images):
    """Sixty images of 1 x 4 x 4, six of each class."""

    channels, num_classes, image_size = 1, 10, 4

    def sources(self) -> dict[str, Source]:
        image = torch.arange(60 * 16).view(60, 1, 4, 4) % 256
        train = Pictures(image.to(torch.uint8), torch.arange(60) % 10)
        return {"train": train, "test": train.subset(torch.arange(20))}


def images(data: Images, split: Any = "train") -> Tensor:
    return torch.cat([data.to_device(b)["image"] for b in data.bank_dataloader(split)])


def training_images(data: Images, epoch: int = 0) -> Tensor:
    """In the order of the source."""
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    batches = [data.to_device(batch) for batch in loader]
    order = torch.cat([batch["index"] for batch in batches]).argsort()
    return torch.cat([batch["image"] for batch in batches])[order]


def test_a_batch_is_float_images_labels_and_positions() -> None:
    data = Digits(batch_size=32, val_size=200)
    batch = data.to_device(next(iter(data.train_dataloader())))
    assert batch["image"].shape == (32, data.channels, data.image_size, data.image_size)
    assert batch["image"].dtype == torch.float32
    assert 0 <= batch["image"].min() < batch["image"].max() <= 1
    assert batch["label"].dtype == batch["index"].dtype == torch.int64
    assert isinstance(batch["seed"], int)
    again = data.to_device(batch)
    assert torch.equal(again["image"], batch["image"])


def test_splits_are_disjoint_stratified_and_fixed_by_their_own_seed() -> None:
    torch.manual_seed(9)
    parts = Digits(val_size=200).splits()
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 1297, "val": 200, "test": 300,
    }  # fmt: skip
    assert sorted(np.concatenate(list(parts.values()))) == list(range(1797))
    other = Digits(val_size=200, split_seed=1).splits()
    assert not np.array_equal(other["val"], parts["val"])
    np.testing.assert_array_equal(other["test"], parts["test"])
    np.testing.assert_array_equal(Digits(val_size=200, seed=5).splits()["val"], parts["val"])


@pytest.mark.parametrize("val_size", [20, 1 / 3])
def test_val_size_is_a_count_or_a_fraction_and_keeps_proportions(val_size: int | float) -> None:
    rows = Fake(val_size=val_size).splits()["val"]
    assert np.bincount(rows % 10).tolist() == [2] * 10


def test_without_validation_there_is_no_loader() -> None:
    data = Fake(val_size=0)
    assert data.val_dataloader() == []
    assert len(data.splits()["train"]) == 60


def test_limit_takes_classes_in_proportion() -> None:
    data = Fake(val_size=20, limit=10, batch_size=10)
    assert np.bincount(data.splits()["train"] % 10).tolist() == [1] * 10
    assert len(data.train_dataloader()) == 1


def test_the_bank_is_the_split_in_order_and_plain() -> None:
    data = Digits(val_size=200, eval_batch_size=100)
    from sklearn.datasets import load_digits

    for split, rows in data.splits().items():
        expected = torch.from_numpy(load_digits().images[rows]).unsqueeze(1)
        assert (images(data, split) * 16 - expected).abs().max() <= 16 / 255 / 2 + 1e-6


def test_dynamic_pixels_are_drawn_anew_fixed_ones_once() -> None:
    dynamic = Digits(batch_size=1297, val_size=200, binarize="dynamic", seed=0)
    first, second = training_images(dynamic), training_images(dynamic, epoch=1)
    assert first.unique().tolist() == second.unique().tolist() == [0, 1]
    assert not torch.equal(first, second)
    grey = images(Digits(val_size=200))
    assert abs((first - grey).mean().item()) < 0.01
    fixed = Digits(batch_size=1297, val_size=200, binarize="fixed")
    assert torch.equal(training_images(fixed), training_images(fixed, epoch=1))
    assert torch.equal(training_images(fixed), images(fixed))


def test_evaluation_images_are_binarised_once_whatever_the_batch_size() -> None:
    for split in ("val", "test"):
        drawn = images(Digits(val_size=200, binarize="dynamic", seed=1), split)
        assert drawn.unique().tolist() == [0, 1]
        other = Digits(val_size=200, binarize="fixed", eval_batch_size=7, seed=2)
        assert torch.equal(images(other, split), drawn)


@pytest.mark.ddp
def test_two_ranks_evaluate_the_same_images(two_ranks: TwoRanks) -> None:
    one, ranks = two_ranks.results("tests.data.programs:evaluation_batches")
    assert len(ranks[0]) == len(ranks[1])
    joined = ranks[0] + ranks[1]
    order = torch.cat([b["index"] for b in joined]).argsort()
    assert torch.equal(
        torch.cat([b["index"] for b in joined])[order], torch.cat([b["index"] for b in one])
    )
    assert torch.equal(
        torch.cat([b["image"] for b in joined])[order], torch.cat([b["image"] for b in one])
    )


def test_a_batch_above_the_training_set_is_refused_with_the_largest_that_fits() -> None:
    data = Fake(batch_size=48, val_size=20)
    data.trainer = SimpleNamespace(accumulate_grad_batches=2, callbacks=[], world_size=3)  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"exceeds the 40 training.* data\.batch_size=36 or less"):
        data.train_dataloader()


def test_the_batch_size_is_global() -> None:
    data = Fake(batch_size=24, val_size=0)
    data.trainer = SimpleNamespace(accumulate_grad_batches=2, callbacks=[], world_size=3)  # type: ignore[assignment]
    assert len(next(iter(data.train_dataloader()))["index"]) == 24 // 2 // 3
    data.trainer.accumulate_grad_batches = 5  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="3 devices x 5 accumulated batches = 15"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size 0 must be at least 1"),
        ({"eval_batch_size": -1}, "eval_batch_size -1 must be at least 1"),
        ({"val_size": -0.1}, "val_size -0.1"),
        ({"binarize": "yes"}, "none, dynamic, fixed"),
        ({"limit": 0}, "limit 0"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Fake(**arguments)


def test_sizes_that_the_data_cannot_give_are_refused() -> None:
    with pytest.raises(ValueError, match="val_size 60 leaves none of the 60"):
        Fake(val_size=60).setup()
    with pytest.raises(ValueError, match="batch_size 64 exceeds the 54 training images"):
        Fake(batch_size=64).train_dataloader()


@pytest.mark.parametrize("label", [-2, 10])
def test_a_label_out_of_range_is_named(label: int) -> None:
    labels = torch.zeros(5, dtype=torch.int64)
    labels[3] = label
    with pytest.raises(BrokenDataError, match=f"image 3 has label {label}; labels are 0 to 9"):
        Pictures(torch.zeros(5, 1, 4, 4, dtype=torch.uint8), labels).check("Fake", (1, 4, 4), 10)


def test_images_of_a_wrong_shape_or_type_are_named() -> None:
    with pytest.raises(BrokenDataError, match=r"\(1, 4, 5\)"):
        Pictures(torch.zeros(5, 1, 4, 5, dtype=torch.uint8)).check("Fake", (1, 4, 4), 10)
    with pytest.raises(BrokenDataError, match=r"float32"):
        Pictures(torch.zeros(5, 1, 4, 4)).check("Fake", (1, 4, 4), 10)


def test_held_out_images_have_labels_where_some_are_unknown() -> None:
    class Partly(Fake):
        def sources(self) -> dict[str, Source]:
            found = super().sources()
            found["train"].labels[30:] = -1
            return found

    parts = Partly(val_size=10).splits()
    assert (parts["val"] < 30).all()
    assert len(parts["train"]) == 50


def test_evaluation_loaders_hold_no_state() -> None:
    data = Fake(val_size=20)
    assert isinstance(data.val_dataloader(), EvalLoader)
    assert [b["index"].tolist() for b in data.test_dataloader()] == [list(range(20))]


@pytest.mark.benchmarks
def test_a_binarised_batch_costs_little() -> None:
    class Large(Fake):
        image_size = 28

        def sources(self) -> dict[str, Source]:
            image = torch.randint(256, (60_000, 1, 28, 28), dtype=torch.uint8)
            return {"train": Pictures(image), "test": Pictures(image[:10])}

    for how in ("none", "dynamic"):
        data = Large(batch_size=128, val_size=0, binarize=how)
        loader = data.train_dataloader()
        start = time.process_time()
        for batch in loader:
            data.to_device(batch)
        print(f"\n{how}: {(time.process_time() - start) / len(loader) * 1e3:.3f} ms a batch of 128")
