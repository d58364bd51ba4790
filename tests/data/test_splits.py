"""Folds, fractions and counts: what of the training images is used for what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.data import (
    BinaryDensity,
    Digits,
    FreyFaces,
    ImageFolder,
    Images,
    Omniglot,
    Toys,
    Vectors,
)
from genlab.data.loader import Source
from tests.data.test_images import Fake


class Partly(Fake):
    """Half of the labels unknown."""

    def sources(self) -> dict[str, Source]:
        found = super().sources()
        found["train"].labels[30:] = -1
        return found


def test_folds_are_disjoint_stratified_and_together_everything() -> None:
    parts = [Digits(folds=5, fold=k).splits() for k in range(5)]
    held = [part["val"] for part in parts]
    assert sorted(np.concatenate(held)) == sorted(np.concatenate([parts[0]["train"], held[0]]))
    assert sum(map(len, held)) == 1497
    for part in parts:
        assert not np.intersect1d(part["train"], part["val"]).size
        assert len(part["train"]) + len(part["val"]) == 1497
        np.testing.assert_array_equal(part["test"], Digits().splits()["test"])
    assert [np.bincount(rows % 10).tolist() for rows in fold_rows()] == [[2] * 10] * 3


def fold_rows() -> list[np.ndarray]:
    return [Fake(folds=3, fold=k).splits()["val"] for k in range(3)]


def test_the_split_seed_decides_the_folds() -> None:
    first, same, other = (
        Digits(folds=4, split_seed=s, seed=e).splits()["val"] for s, e in ((0, 1), (0, 2), (1, 1))
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_unlabelled_images_are_in_no_fold() -> None:
    held = [Partly(folds=3, fold=k).splits() for k in range(3)]
    assert sorted(np.concatenate([part["val"] for part in held])) == list(range(30))
    assert all(set(range(30, 60)) <= set(part["train"]) for part in held)


@pytest.mark.parametrize(("limit", "each"), [(20, 2), (0.5, 3), (1 / 6, 1), (500, 6), (30.0, 3)])
def test_limit_is_a_count_or_a_fraction_and_keeps_proportions(
    limit: int | float, each: int
) -> None:
    data = Fake(val_size=0, limit=limit, batch_size=10)
    assert data.class_counts == [each] * 10
    assert np.bincount(data.splits()["train"] % 10).tolist() == [each] * 10


def test_limit_applies_to_what_the_fold_leaves() -> None:
    parts = Fake(folds=3, fold=1, limit=0.25).splits()
    assert (len(parts["train"]), len(parts["val"])) == (10, 20)
    assert not np.intersect1d(parts["train"], parts["val"]).size


def test_class_counts_are_of_labelled_training_images() -> None:
    assert Partly(val_size=10).class_counts == [2] * 10
    data = Digits(val_size=200, limit=400)
    assert sum(data.class_counts) == 400
    from sklearn.datasets import load_digits

    labels = load_digits().target[data.splits()["train"]]
    assert data.class_counts == np.bincount(labels, minlength=10).tolist()


@pytest.mark.parametrize("with_val", [False, True])
def test_a_folder_of_pictures_is_cut_into_folds(tmp_path: Path, with_val: bool) -> None:
    for part in ("train", "val") if with_val else ("train",):
        for name in "ab":
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(12):
                Image.fromarray(np.full((8, 8), i, np.uint8)).save(folder / f"{i}.png")
    held = []
    for k in range(3):
        data = ImageFolder(str(tmp_path), 8, 1, test_size=6, folds=3, fold=k, workers=0)
        parts = data.splits()
        held.append(parts["val"])
        assert len(parts["train"]) == 12
        assert data.class_counts == [6, 6]
        assert not np.intersect1d(
            parts["test"], np.concatenate([parts["train"], parts["val"]])
        ).size
    assert len(np.unique(np.concatenate(held))) == 18


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 1.5}, "limit 1.5 must be at least 1, a whole number, or a fraction below 1"),
        ({"limit": 1.0}, "limit 1.0"),
        ({"limit": -0.5}, "limit -0.5"),
        ({"folds": 1}, "folds 1 must be at least 2"),
        ({"folds": 5, "fold": 5}, "fold 5 must be 0 to 4"),
        ({"fold": 1}, "fold 1 must be 0 unless folds is given"),
    ],
)
def test_wrong_divisions_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fake(**arguments)


def test_divisions_that_the_data_cannot_give_are_refused() -> None:
    with pytest.raises(ValueError, match="folds 7 exceeds the 6 images of the largest class"):
        Fake(folds=7).setup()
    with pytest.raises(ValueError, match=r"limit 0\.001 of 60 training images is none"):
        Fake(limit=0.001, val_size=0).setup()


def test_without_labels_folds_are_of_all_images() -> None:
    class Unknown(Fake):
        def sources(self) -> dict[str, Source]:
            found = super().sources()
            found["train"].labels = torch.full((60,), -1)
            return found

    held = [Unknown(folds=3, fold=k).splits()["val"] for k in range(3)]
    assert sorted(np.concatenate(held)) == list(range(60))


FIXED: dict[str, Callable[..., Images]] = {
    "BinaryDensity": BinaryDensity,
    "FreyFaces": FreyFaces,
    "Omniglot": Omniglot,
    "Toys": Toys,
    "val_vectors": partial(Vectors, "x.npy", val_vectors="y.npy"),
}


@pytest.mark.parametrize("name", FIXED)
def test_folds_of_data_with_fixed_parts_are_refused(name: str) -> None:
    """They would be one division, K times."""
    words = f"folds 4 cannot be combined with {name}, whose validation part is fixed"
    with pytest.raises(ValueError, match=words):
        FIXED[name](folds=4)
