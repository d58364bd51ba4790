"""What a run knows of its images."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
from PIL import Image

import genlab
from genlab.training.provenance import data


@pytest.fixture
def images(tmp_path: Path) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 8, 8), np.uint8)


def of_arrays(folder: Path, images: np.ndarray, **given: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "a.npz", images=images, labels=np.arange(len(images)) % 2)
    found = data.facts(genlab.data.Arrays(str(folder / "a.npz"), **given))
    return dict(json.loads(json.dumps(found)))


def test_small_sets_are_hashed_with_their_images(tmp_path: Path, images: np.ndarray) -> None:
    first = of_arrays(tmp_path / "a", images, val_size=5, test_size=5)
    assert first["images"] == {"train": 30, "val": 5, "test": 5}
    assert (first["name"], first["sha256_of"]) == ("Arrays", "labels and images")
    assert of_arrays(tmp_path / "b", images, val_size=5, test_size=5) == first
    images[0, 0, 0] += 1
    assert of_arrays(tmp_path / "a", images, val_size=5, test_size=5)["sha256"] != first["sha256"]


def test_large_sets_are_hashed_without_their_images(
    tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MOST", images.nbytes - 1)
    first = of_arrays(tmp_path / "a", images)
    assert first["sha256_of"] == "labels and positions"
    images[0, 0, 0] += 1
    assert of_arrays(tmp_path / "a", images)["sha256"] == first["sha256"]


def test_images_in_files_are_hashed_by_their_names_and_sizes(
    tmp_path: Path, images: np.ndarray
) -> None:
    def found(root: Path) -> dict[str, Any]:
        return data.facts(genlab.data.ImageFolder(str(root), image_size=8, in_memory=False))

    for root in (tmp_path / "a", tmp_path / "b"):
        for number, image in enumerate(images):
            file = root / "train" / "xy"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    first = found(tmp_path / "a")
    assert first["sha256_of"] == "labels and names and sizes of files"
    assert found(tmp_path / "b") == first
    (tmp_path / "b/train/x/0.png").rename(tmp_path / "b/train/x/00.png")
    assert found(tmp_path / "b")["sha256"] != first["sha256"]


def test_of_a_strange_module_only_the_name_is_known() -> None:
    assert data.facts(L.LightningDataModule()) == {"name": "LightningDataModule"}


def test_digits_are_the_same_everywhere() -> None:
    found = data.facts(genlab.data.Digits())
    assert len(found["sha256"]) == len(hashlib.sha256().hexdigest())
    assert data.facts(genlab.data.Digits(val_size=0.2))["sha256"] == found["sha256"]
