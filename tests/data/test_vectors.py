"""Vectors: numbers of a file reach a step unchanged; what is meant for pixels is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genlab.data import BrokenDataError, Digits, MissingDataError, Vectors

NUMBERS = np.random.default_rng(0).normal(3.0, 50.0, (40, 7))


def saved(folder: Path, array: Any = NUMBERS, name: str = "x.npy") -> str:
    np.save(folder / name, array)
    return str(folder / name)


def rows(data: Any, split: Any) -> torch.Tensor:
    found = [data.to_device(batch) for batch in data.bank_dataloader(split)]
    return torch.cat([batch["image"] for batch in found])


@pytest.mark.parametrize("kind", ["<f8", ">f4", "i2", "u1", "?"])
def test_numbers_keep_their_units_and_every_vector_is_in_one_part(
    tmp_path: Path, kind: str
) -> None:
    stored = NUMBERS.astype(kind)
    data = Vectors(saved(tmp_path, stored), batch_size=4, val_size=5, test_size=6)
    assert (data.channels, data.image_size, data.num_classes) == (7, 1, 0)
    splits = data.splits()
    assert [len(splits[part]) for part in ("train", "val", "test")] == [29, 5, 6]
    assert sorted(np.concatenate(list(splits.values()))) == list(range(40))
    for part in ("train", "val", "test"):
        want = torch.from_numpy(stored[splits[part]].astype(np.float32))
        assert torch.equal(rows(data, part), want[:, :, None, None])
    batch = next(data.batches("train"))
    assert batch["image"].shape == (4, 7, 1, 1)
    want = torch.from_numpy(stored[batch["index"].numpy()].astype(np.float32))
    assert torch.equal(batch["image"][:, :, 0, 0], want)


def test_own_parts_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", vectors=NUMBERS, labels=np.arange(40) % 3)
    held = saved(tmp_path, NUMBERS[:5] + 1, "val.npy")
    test = saved(tmp_path, NUMBERS[:6] + 2, "test.npy")
    file = str(tmp_path / "x.npz")
    data = Vectors(file, val_vectors=held, test_vectors=test, batch_size=4)
    assert data.class_counts == [14, 13, 13]
    assert torch.equal(rows(data, "train")[:, 0, 0, 0], torch.tensor(NUMBERS[:, 0]).float())
    assert torch.equal(rows(data, "val")[:, 0, 0, 0], torch.tensor(NUMBERS[:5, 0] + 1).float())
    assert torch.equal(rows(data, "test")[:, 0, 0, 0], torch.tensor(NUMBERS[:6, 0] + 2).float())


BAD = np.where(np.arange(40)[:, None] == 3, np.nan, NUMBERS)
WRONG: dict[str, tuple[Any, str]] = {
    "images": (np.zeros((4, 3, 3)), r"shape \(4, 3, 3\) is not vectors \(N, D\)"),
    "text": (np.array([["a"]]), "is not vectors"),
    "complex": (NUMBERS + 1j, "is not vectors"),
    "empty": (NUMBERS[:0], "is not vectors"),
    "not a number": (BAD, "vector 3 has a number that is not finite"),
    "too large": (NUMBERS * 1e40, "vector 0 has a number that is not finite"),
    "other width": (NUMBERS[:, :5], "vectors have 7 numbers, those of training 5"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    array, words = WRONG[name]
    test = saved(tmp_path, NUMBERS, "test.npy")
    with pytest.raises(BrokenDataError, match=words):
        Vectors(saved(tmp_path, array), test_vectors=test).setup()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"no file .*none\.npy"):
        Vectors(str(tmp_path / "none.npy"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"views": "simclr"}, "views requires images, and vectors are none"),
        ({"augment": {"flip": True}}, "augment requires images"),
        ({"resize": 8}, "resize requires images"),
        ({"binarize": "dynamic"}, "binarize requires images"),
        ({"labels": 3}, "labels requires images"),
        ({"test_size": -1}, "test_size -1"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Vectors(saved(tmp_path), **options)


def test_images_with_one_pixel_are_no_reason_to_refuse_their_own_defaults() -> None:
    assert Digits(views="simclr").views is not None
