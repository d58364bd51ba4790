"""What a batch goes through on the device: resized always, augmented in training only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from genlab.augment import Augment
from genlab.data import Digits, ImageFolder, Images
from genlab.data.on_device import Finish
from tests.data.test_images import Fake, images, training_images


def unit(image: Tensor) -> Tensor:
    """Bytes to [0, 1] as torchvision's v2 does, and any GPU."""
    return tv.to_dtype(image, torch.float32, scale=True)


def raw(data: Images, epoch: int = 0) -> list[dict[str, Any]]:
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    return list(loader)


def test_training_batches_are_augmented_by_their_own_seed() -> None:
    switches = {"flip": True, "translate": 2}
    data = Digits(batch_size=64, val_size=200, seed=3, augment=switches)
    for batch in raw(data)[:3]:
        seen, plain = data.to_device(batch)["image"], unit(batch["image"])
        assert not torch.equal(seen, plain)
        assert torch.equal(seen, Augment(flip=True, translate=2)(plain, batch["seed"]))
        assert torch.equal(seen, data.to_device(batch)["image"])


def test_epochs_see_other_draws_and_evaluation_sees_none() -> None:
    data = Digits(batch_size=1297, val_size=200, augment={"translate": 2})
    assert not torch.equal(training_images(data), training_images(data, epoch=1))
    plain = Digits(val_size=200)
    for split in ("train", "val", "test"):
        assert torch.equal(images(data, split), images(plain, split))


def test_binarising_follows_augmentation() -> None:
    data = Digits(batch_size=1297, val_size=200, binarize="dynamic", augment={"rotate": 20.0})
    first = training_images(data)
    assert first.unique().tolist() == [0, 1]
    grey = training_images(Digits(batch_size=1297, val_size=200, augment={"rotate": 20.0}))
    assert 0.4 < (grey > 0).float().mean() < 0.8
    assert abs((first - grey).mean().item()) < 0.01


def test_no_augmentation_leaves_bytes_as_they_are() -> None:
    nothing: list[dict[str, Any] | None] = [None, {}]
    for augment in nothing:
        data = Fake(batch_size=60, val_size=0, augment=augment)
        batch = raw(data)[0]
        seen = data.to_device(batch)["image"]
        assert torch.equal(seen, unit(batch["image"]))
        assert torch.equal(seen.mul(255).round().byte(), batch["image"])


def test_the_256_grey_levels_have_ends_that_are_exact() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    seen = Finish(resize=None, options=None, binarize="none")(levels).flatten()
    assert seen[0] == 0
    assert seen[-1] == 1
    assert (seen - torch.arange(256, dtype=torch.float64) / 255).abs().max() < 2**-23


def resized(image: Tensor, size: int) -> Tensor:
    return tv.resize(image.float() / 255, [size, size], antialias=True)


@pytest.mark.parametrize("size", [5, 24])
def test_resize_is_torchvisions_in_training_and_evaluation(size: int) -> None:
    data = Digits(batch_size=64, val_size=200, resize=size)
    assert (data.image_size, Digits().image_size, Digits.image_size) == (size, 8, 8)
    training, evaluation = raw(data)[0], next(iter(data.bank_dataloader("test")))
    for batch in (training, evaluation):
        seen = data.to_device(batch)["image"]
        assert seen.shape[1:] == (1, size, size)
        torch.testing.assert_close(seen, resized(batch["image"], size), rtol=0, atol=1e-5)
        assert 0 <= seen.min() <= seen.max() <= 1


def test_augmentation_follows_resizing() -> None:
    data = Digits(batch_size=64, val_size=200, resize=16, augment={"cutout": 8, "fill": 1.0})
    batch = raw(data)[0]
    seen = data.to_device(batch)["image"]
    assert seen.shape[1:] == (1, 16, 16)
    plain = resized(batch["image"], 16)
    torch.testing.assert_close(seen, Augment(cutout=8, fill=1.0)(plain, batch["seed"]))


def test_torchvisions_sets_are_resized_and_augmented(data_root: Path) -> None:
    from genlab.data import MNIST

    data = MNIST(
        root=str(data_root), download=False, limit=64, batch_size=32, resize=32,
        augment={"translate": 2},
    )  # fmt: skip
    assert data.to_device(raw(data)[0])["image"].shape == (32, 1, 32, 32)
    assert sum(data.class_counts) == 64


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(20):
            noise = np.random.default_rng(i).integers(0, 255, (12, 12, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / name / f"{i}.png")
    return str(tmp_path)


def test_streamed_and_held_pictures_are_augmented_alike(folder: str) -> None:
    options: dict[str, Any] = {
        "augment": {"flip": True, "rotate": 20.0},
        "batch_size": 8,
        "seed": 1,
    }
    held, streamed = (
        ImageFolder(folder, 12, in_memory=memory, workers=0, **options) for memory in (True, False)
    )
    for one, other in zip(raw(held), raw(streamed), strict=True):
        seen = held.to_device(one)["image"]
        assert torch.equal(seen, streamed.to_device(other)["image"])
        assert not torch.equal(seen, unit(one["image"]))


def test_a_folder_takes_image_size_not_resize(folder: str) -> None:
    with pytest.raises(ValueError, match="resize 8: a folder's images have image_size"):
        ImageFolder(folder, 12, resize=8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"augment": {"flipp": True}}, "no switch 'flipp'; did you mean flip"),
        ({"augment": {"erase": 2}}, "erase must be a number in 0 ... 1"),
        ({"resize": 0}, "resize 0 must be at least 1"),
        ({"resize": 8, "binarize": "dynamic"}, "resize 8 would blur"),
        ({"augment": {"flip": True}, "binarize": "fixed"}, "use 'dynamic'"),
    ],
)
def test_wrong_arguments_are_refused_at_construction(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Fake(**arguments)


@pytest.mark.parametrize("size", [7, 16, 33])
def test_a_white_image_that_is_resized_is_at_most_white_but_for_rounding(size: int) -> None:
    white = torch.full((2, 3, 32, 32), 255, dtype=torch.uint8)
    assert Finish(size, None, "none")(white).max() < 1 + 1e-6
